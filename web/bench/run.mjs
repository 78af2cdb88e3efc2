// Latency of fill-mask in one Chromium: Anaume's worker, onnxruntime-web and transformers.js on the same weights.
//   node run.mjs MODEL OUT [--page DIST] [--rounds 5] [--runs 4] [--only SUBSTRING]
// MODEL is the folder that export_onnx.py wrote, DIST the built page. Writes OUT/results.json and OUT/table.md.
import assert from "node:assert/strict";
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { cpus, loadavg, tmpdir } from "node:os";
import { extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";

const here = fileURLToPath(new URL(".", import.meta.url));
const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    page: { type: "string", default: join(here, "../dist") },
    rounds: { type: "string", default: "5" },
    runs: { type: "string", default: "4" },
    only: { type: "string", default: "" },
  },
});
const [model, out] = positionals.map((path) => resolve(path));
const modules = join(here, "node_modules");
const transformersRuntime = join(modules, "@huggingface/transformers/node_modules/onnxruntime-web");
const folders = {
  bench: here,
  anaume: resolve(options.page),
  models: join(model, ".."),
  "transformers-onnxruntime": transformersRuntime,
  modules,
};
const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };

// Texts of 32 and 128 tokens in the llm-jp tokenizer, [CLS], the mask and [SEP] among them. The mask stands last, where
// Anaume's cutting of the text after a mask and that of tokenizer.json agree.
const mask = "<MASK|LLM-jp>";
const short = "京都は古い寺や神社が多く、春には桜、秋には紅葉を見るために多くの人が訪れる町である。";
const texts = {
  32: `${short}この町の名物は${mask}`,
  128: `${short}町の中を鴨川が流れ、川沿いの道は朝から夜まで散歩する人で賑わっている。冬は盆地のために冷え込みが厳しく、夏は`
    + "蒸し暑いが、祭りの季節には通りに山鉾が並び、浴衣を着た人々が夜まで歩いている。駅の北には大きな本屋と喫茶店があり、休みの日に学生が"
    + `本を読んだり話をしたりする。伝統の工芸も盛んで、織物や焼き物の店が軒を連ねている。この町の名物は${mask}`,
};

/** Files of the folders above, isolated from other origins so that threads are there. */
function serve() {
  const server = createServer((request, response) => {
    const [, folder, ...rest] = normalize(decodeURIComponent(request.url.split("?")[0])).split("/");
    const path = folders[folder] && join(folders[folder], ...rest);
    if (!path || !existsSync(path) || !statSync(path).isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      "Content-Type": types[extname(path)] ?? "application/octet-stream",
      "Content-Length": statSync(path).size,
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    createReadStream(path).pipe(response);
  });
  return new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(server)));
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const gzipped = (...paths) => paths.reduce((sum, path) => sum + gzipSync(readFileSync(path), { level: 9 }).length, 0);

/** What a page has to download besides the model, gzipped, and the model's file as it is. */
function downloads(name) {
  const dist = (root, ...names) => names.map((file) => join(root, "dist", file));
  const weights = (file) => statSync(join(model, file)).size;
  if (name.startsWith("Anaume")) {
    const files = ["index.html", "start.js", "page.js", "page_bg.wasm", "worker.js", "worker_bg.wasm", "style.css", "tokens.css"];
    return { programs: gzipped(...files.map((file) => join(folders.anaume, file))), weights: weights("model.safetensors") };
  }
  if (name.startsWith("transformers.js")) {
    const programs = [join(modules, "@huggingface/transformers/dist/transformers.min.js"),
      ...dist(transformersRuntime, "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")];
    return { programs: gzipped(...programs), weights: weights("onnx/model.onnx") };
  }
  const kind = name.includes("WebGPU") ? ["ort.webgpu.min.mjs", "asyncify."] : ["ort.wasm.min.mjs", ""];
  const programs = dist(join(modules, "onnxruntime-web"), kind[0], `ort-wasm-simd-threaded.${kind[1]}mjs`, `ort-wasm-simd-threaded.${kind[1]}wasm`);
  return { programs: gzipped(...programs), weights: weights(name.includes("mask alone") ? "onnx/model_at.onnx" : "onnx/model.onnx") };
}

/** The same five tokens with probabilities within 1e-3. */
function assertSame(name, top, expected) {
  assert.deepEqual(top.map(([id]) => id), expected.map(([id]) => id), `${name}: other tokens`);
  top.forEach(([, probability], rank) => assert.ok(Math.abs(probability - expected[rank][1]) <= 1e-3, `${name}, rank ${rank}`));
}

/** Anaume's tokens and answers on the CPU, which the others are held against. */
async function reference(page) {
  const name = "Anaume, CPU";
  const examples = {};
  await page.evaluate(([name, example]) => window.start(name, example), [name, { text: texts[32] }]);
  for (const [length, text] of Object.entries(texts)) {
    const { tokens, top } = await page.evaluate(([name, example]) => window.fill(name, example), [name, { text }]);
    assert.equal(tokens.length, Number(length), `the text for ${length} tokens has ${tokens.length}`);
    examples[length] = { text, ids: tokens, mask: tokens.length - 2, expected: top };
  }
  await page.evaluate((name) => window.stop(name), name);
  return examples;
}

/** One contestant at one length: one run that does not count, then so many that do. */
async function measure(page, name, example) {
  return page.evaluate(async ([name, example, runs]) => {
    const measured = [];
    for (let run = -1; run < runs; run++) {
      const { top, milliseconds } = await window.fill(name, example);
      if (run >= 0) measured.push({ top, milliseconds });
      await new Promise((go) => setTimeout(go, 50));
    }
    return measured;
  }, [name, example, Number(options.runs)]);
}

/** Rounds over contestants that are all loaded, in turn forwards and backwards. */
async function contest(page, names, examples, results) {
  for (const name of names) {
    const started = await page.evaluate(([name, example]) => window.start(name, example), [name, examples[32]])
      .catch((error) => ({ failed: error.message.split("\n")[0].replace("page.evaluate: ", "") }));
    console.error(name, started.failed ?? `started in ${Math.round(started.milliseconds)} ms`);
    results[name] = started.failed ? { failed: started.failed }
      : { start_ms: started.milliseconds, milliseconds: { 32: [], 128: [] }, memory_mib: null, downloads: downloads(name) };
  }
  const running = names.filter((name) => !results[name].failed);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const name of round % 2 ? running.toReversed() : running) {
      for (const [length, example] of Object.entries(examples)) {
        for (const { top, milliseconds } of await measure(page, name, example)) {
          assertSame(name, top, example.expected);
          results[name].milliseconds[length].push(milliseconds);
        }
      }
    }
    console.error(`round ${round + 1}, load ${loadavg()[0]}`);
  }
  const memory = await page.evaluate(() => window.memory());
  for (const name of running) {
    results[name].memory_mib = memory[name] / 2 ** 20;
    await page.evaluate((name) => window.stop(name), name);
  }
}

function table(names, results) {
  const cells = (name, anaume) => {
    const { failed, milliseconds, start_ms, memory_mib, downloads } = results[name];
    if (failed) return [name, ...Array(4).fill("–"), failed, "", ""];
    const at = (length) => [median(milliseconds[length]).toFixed(1), (median(milliseconds[length]) / median(anaume[length])).toFixed(2)];
    return [name, ...at(32), ...at(128), (start_ms / 1000).toFixed(2), memory_mib.toFixed(0),
      `${(downloads.programs / 1e6).toFixed(2)} + ${(downloads.weights / 1e6).toFixed(0)}`];
  };
  const head = ["", "32 tokens ms", "/ Anaume", "128 tokens ms", "/ Anaume", "start s", "memory MiB", "download MB"];
  const rows = names.map((name) => cells(name, results[names[0]].milliseconds));
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const version = (path) => JSON.parse(readFileSync(join(path, "package.json"))).version;
const server = await serve();
const origin = `http://127.0.0.1:${server.address().port}`;
const profile = mkdtempSync(join(tmpdir(), "anaume-bench-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-blink-features=ForceEagerMeasureMemory"],
});
try {
  const page = context.pages()[0];
  page.setDefaultTimeout(0);
  await page.goto(`${origin}/bench/bench.html`);
  const names = (await page.waitForFunction(() => window.names).then((handle) => handle.jsonValue())).filter((name) => name.match(options.only));
  const examples = await reference(page);
  const results = {};
  const groups = [names.filter((name) => !/webgpu/i.test(name)), names.filter((name) => /webgpu/i.test(name))].filter((group) => group.length);
  const before = loadavg();
  for (const group of groups) await contest(page, group, examples, results);
  const tables = groups.map((group) => table(group, results)).join("\n\n");
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "results.json"), JSON.stringify({
    processor: `${cpus().length} x ${cpus()[0].model}`,
    load_before: before,
    load_after: loadavg(),
    versions: { chromium: context.browser()?.version() ?? await page.evaluate(() => navigator.userAgent), node: process.version,
      "onnxruntime-web": version(join(modules, "onnxruntime-web")), "@huggingface/transformers": version(join(modules, "@huggingface/transformers")),
      "onnxruntime-web of transformers.js": version(transformersRuntime) },
    examples,
    results,
  }, null, 1));
  writeFileSync(join(out, "table.md"), `${tables}\n`);
  console.log(tables);
} finally {
  await context.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}
