// The page of the bench: one worker a contestant, asked one after the other. run.mjs calls `contestants`.

/** Contestants that were started, by name. */
const open = {};

/** A worker whose every answer ends what was asked before it. */
class Asked {
  constructor(script) {
    // An address of its own, by which its memory is found.
    this.url = new URL(`${script}#${Object.keys(open).length}`, location.href).href;
    this.worker = new Worker(this.url, { type: "module" });
    this.worker.onerror = (event) => this.settle?.(Promise.reject(new Error(`${script}: ${event.message ?? "did not start"}`)));
  }

  /** The answer to a message, and the milliseconds until it was here. */
  async ask(message) {
    const start = performance.now();
    const answer = await new Promise((settle) => {
      this.settle = settle;
      this.worker.onmessage = ({ data }) => this.hear(data, settle);
      if (message !== undefined) this.worker.postMessage(message);
    });
    return { answer, milliseconds: performance.now() - start };
  }

  hear(data, settle) {
    settle(data.failed ? Promise.reject(new Error(data.failed)) : data);
  }
}

/** Anaume's own worker, spoken to as its page does (web/src/protocol.rs). */
class Anaume extends Asked {
  constructor(device) {
    super(`/anaume/start.js${device === "CPU" ? "?device=cpu" : ""}`);
    this.device = device;
  }

  hear([, json], settle) {
    const reply = JSON.parse(json);
    const [kind, value] = typeof reply === "string" ? [reply] : Object.entries(reply)[0];
    if (kind === "Failed") settle(Promise.reject(new Error(value.what)));
    else if (!["Fetching", "Preparing"].includes(kind)) settle(value ?? kind);
  }

  async load() {
    const listens = this.ask();
    const files = await Promise.all(["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
      .map(async (name) => new File([await bytes(`/models/model/${name}`)], name)));
    await listens;
    const { answer } = await this.ask([1, JSON.stringify({ Load: { model: "m", source: "Files" } }), files]);
    if (answer.device !== this.device) throw new Error(`asked for ${this.device}, computes on ${answer.device}`);
  }

  async fill({ text }) {
    const { answer, milliseconds } = await this.ask([2, JSON.stringify({ FillMask: { model: "m", text, top_k: 5 } }), null]);
    const top = answer.answer.masks[0].map((row) => [row.token_id, row.probability]);
    return { top, milliseconds, tokens: answer.tokens.map((token) => token.id) };
  }
}

/** onnxruntime-web, given token ids. `chosen` is the export that decodes the mask alone. */
class Onnx extends Asked {
  constructor(options) {
    super("/bench/onnxruntime.js");
    this.options = options;
  }

  async load() {
    const model = await bytes(`/models/model/onnx/${this.options.chosen ? "model_at" : "model"}.onnx`);
    await this.ask({ model, ...this.options });
  }

  async fill({ ids, mask }) {
    const { answer, milliseconds } = await this.ask({ ids, mask });
    return { top: answer.top, milliseconds };
  }
}

/** The fill-mask pipeline of transformers.js. */
class Transformers extends Asked {
  constructor(device) {
    super("/bench/transformers.js");
    this.device = device;
  }

  async load() {
    await this.ask({ device: this.device });
  }

  async fill({ text }) {
    const { answer, milliseconds } = await this.ask({ text });
    return { ...answer, milliseconds };
  }
}

const bytes = async (url) => {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
};

const all = {
  "Anaume, CPU": () => new Anaume("CPU"),
  "onnxruntime-web WASM, 1 thread": () => new Onnx({ provider: "wasm", threads: 1 }),
  "onnxruntime-web WASM, 1 thread, decodes the mask alone": () => new Onnx({ provider: "wasm", threads: 1, chosen: true }),
  "onnxruntime-web WASM, 2 threads": () => new Onnx({ provider: "wasm", threads: 2 }),
  "transformers.js wasm": () => new Transformers("wasm"),
  "Anaume, WebGPU": () => new Anaume("WebGPU"),
  "onnxruntime-web WebGPU": () => new Onnx({ provider: "webgpu", threads: 1 }),
  "onnxruntime-web WebGPU, decodes the mask alone": () => new Onnx({ provider: "webgpu", threads: 1, chosen: true }),
  "transformers.js webgpu": () => new Transformers("webgpu"),
};

window.names = Object.keys(all);
/** Starts a contestant and fills `example`: milliseconds from its files at hand to the first answer. */
window.start = async (name, example) => {
  open[name] = all[name]();
  const begin = performance.now();
  await open[name].load();
  const first = await open[name].fill(example);
  return { ...first, milliseconds: performance.now() - begin };
};
window.fill = (name, example) => open[name].fill(example);
/** Bytes of each contestant's worker, with its WebAssembly memory, without what lies on a GPU. */
window.memory = async () => {
  const { breakdown } = await performance.measureUserAgentSpecificMemory();
  const entries = Object.entries(open).map(([name, { url }]) => [name, breakdown.filter((part) => part.attribution.some((from) => from.url === url))]);
  return Object.fromEntries(entries.map(([name, parts]) => [name, parts.reduce((sum, part) => sum + part.bytes, 0)]));
};
window.stop = (name) => open[name].worker.terminate();
