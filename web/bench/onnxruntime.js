// The worker of onnxruntime-web: the model first, then token ids; answers the five likeliest tokens of the mask.
import { top5 } from "./top5.js";

let session, chosen, ort;

async function load({ model, provider, threads, chosen: decodesTheMaskAlone }) {
  ort = await import(`/modules/onnxruntime-web/dist/ort${provider === "webgpu" ? ".webgpu" : ".wasm"}.min.mjs`);
  ort.env.wasm.wasmPaths = "/modules/onnxruntime-web/dist/";
  ort.env.wasm.numThreads = threads;
  session = await ort.InferenceSession.create(model, { executionProviders: [provider], graphOptimizationLevel: "all" });
  chosen = decodesTheMaskAlone;
}

const integers = (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);

async function fill({ ids, mask }) {
  const shape = [1, ids.length];
  const inputs = { input_ids: integers(ids, shape), attention_mask: integers(ids.map(() => 1), shape) };
  if (chosen) inputs.positions = integers([mask], [1]);
  const { logits } = await session.run(inputs);
  const values = await logits.getData();
  const vocabulary = logits.dims.at(-1);
  const start = chosen ? 0 : mask * vocabulary;
  return { top: top5(values.subarray(start, start + vocabulary)) };
}

onmessage = async ({ data }) => {
  try {
    postMessage(data.ids ? await fill(data) : (await load(data), { loaded: true }));
  } catch (error) {
    postMessage({ failed: String(error) });
  }
};
