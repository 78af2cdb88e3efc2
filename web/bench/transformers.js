// The worker of transformers.js: its fill-mask pipeline over files of this server alone, one thread.
import { env, pipeline } from "/modules/@huggingface/transformers/dist/transformers.min.js";

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.useBrowserCache = false;
env.localModelPath = "/models/";
env.backends.onnx.wasm.wasmPaths = "/transformers-onnxruntime/dist/";
env.backends.onnx.wasm.numThreads = 1;

let fillMask;

async function fill({ text }) {
  const rows = await fillMask(text, { top_k: 5 });
  return { top: rows.map((row) => [row.token, row.score]) };
}

onmessage = async ({ data }) => {
  try {
    if (data.device) {
      fillMask = await pipeline("fill-mask", "model", { device: data.device, dtype: "fp32" });
      postMessage({ loaded: true });
    } else {
      const answer = await fill(data);
      postMessage(answer);
    }
  } catch (error) {
    postMessage({ failed: String(error) });
  }
};
