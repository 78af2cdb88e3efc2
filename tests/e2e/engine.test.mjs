// The engine behind the page: exported models, answers that are checked before any is shown, a device that is lost.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { binary, devices, model, open, root, serve } from "./site.mjs";

const text = "朝ご飯に[MASK]を食べて、お茶を[MASK]。";
let room, exported, site;

before(async () => {
  room = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
  exported = join(room, "web");
  execFileSync(binary, ["export", "web", model, "--dtype", "q8", "--out", exported], { stdio: "ignore" });
  site = await serve("--model", exported);
});
after(() => {
  site.stop();
  rmSync(room, { recursive: true, force: true });
});

/** A page in a browser of its own; `script` runs in the worker before the program does. */
async function visit(flags, script, act, from = site) {
  const context = await open(join(room, `profile-${Math.random()}`), flags);
  try {
    const start = await (await fetch(`${from.origin}start.js`)).text();
    await context.route("**/start.js*", (route) => route.fulfill({ contentType: "text/javascript", body: `${script}\n${start}` }));
    const page = await context.newPage();
    const workers = [];
    page.on("worker", (worker) => workers.push(worker));
    await page.goto(from.origin);
    await act(page, workers, context);
  } finally {
    await context.close();
  }
}

const ready = (page, device) => page.waitForSelector(`#models li[data-state=ready][data-device="${device}"]`, { timeout: 120_000 });

async function ask(page) {
  await page.fill("#text", text);
  await page.click("#fill");
  await page.waitForSelector("#answer article tr", { timeout: 120_000 });
  const tokens = await page.$$eval("#answer tr", (rows) => rows.map((row) => row.dataset.token));
  await page.fill("#text", "");
  return tokens;
}

function answersOfTheCommandLine() {
  const answer = execFileSync(binary, ["fill-mask", "--model", exported, text, "--device", "cpu", "--json"]);
  return JSON.parse(answer).models[0].texts[0].masks.flat().map((candidate) => candidate.token.trim());
}

for (const { device, flags } of devices) {
  describe(device, () => {
    test("an exported model in 8 bits answers as the command line does, and its answer was checked", () =>
      visit(flags, "", async (page) => {
        assert.match(await (await ready(page, device)).textContent(), /検算済み/);
        assert.deepEqual(await ask(page), answersOfTheCommandLine());
      }));

    test("a model that answers otherwise than was recorded does not answer at all", () =>
      visit(flags, "", async (page, _workers, context) => {
        await context.route("**/site.json", async (route) => {
          const index = await (await fetch(`${site.origin}site.json`)).json();
          index.models[0].check.logits[0] += 5;
          await route.fulfill({ json: index });
        });
        await page.reload();
        const failed = await page.waitForSelector("#models li[data-state=failed]", { timeout: 120_000 });
        assert.match(await failed.textContent(), /日本の首都は.*export web/s);
      }));
  });
}

// tests/export.rs asks the program for the same.
test("every device answers what transformers answers, and a logit that is off by half a percent does not pass", async () => {
  const golden = (name) => join(root, "tests/golden", name);
  const [folder, out] = [join(room, "golden"), join(room, "golden-web")];
  mkdirSync(folder);
  for (const name of ["model/plain/config.json", "model/plain/model.safetensors", "page/tokenizer.json", "page/tokenizer_config.json"])
    copyFileSync(golden(name), join(folder, basename(name)));
  execFileSync(binary, ["export", "web", folder, "--dtype", "f32", "--out", out], { stdio: "ignore" });
  const list = JSON.parse(readFileSync(join(out, "web.json")));
  const check = JSON.parse(readFileSync(golden("page/check.json")));
  const largest = Math.max(...check.logits.map(Math.abs));
  const served = async (change, act) => {
    writeFileSync(join(out, "web.json"), JSON.stringify({ ...list, check: change(structuredClone(check)) }));
    const golden = await serve("--model", out);
    try {
      for (const { device, flags } of devices) await visit(flags, "", (page) => act(page, device), golden);
    } finally {
      golden.stop();
    }
  };
  await served((check) => check, async (page, device) => assert.match(await (await ready(page, device)).textContent(), /検算済み/));
  await served((check) => {
    check.logits[7] += largest * 0.005;
    return check;
  }, (page) => page.waitForSelector("#models li[data-state=failed]", { timeout: 120_000 }));
});

test("where WebGPU computes something wrong the CPU answers, and the page says so", () =>
  visit(devices[0].flags, `
    const create = globalThis.GPUDevice?.prototype.createShaderModule;
    if (create) GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(this, { ...descriptor, code: descriptor.code.replaceAll(" exp(", " exp2(") });
    };`, async (page) => {
    assert.match(await (await ready(page, "CPU")).textContent(), /WebGPU の計算が正しくなかった/);
    assert.deepEqual(await ask(page), answersOfTheCommandLine());
  }));

test("a device that is lost is replaced once, then by the CPU, and the question is answered", () =>
  visit(devices[0].flags, `
    const request = globalThis.GPUAdapter?.prototype.requestDevice;
    if (request) GPUAdapter.prototype.requestDevice = async function (...options) {
      globalThis.device = await request.apply(this, options);
      return globalThis.device;
    };`, async (page, workers) => {
    const expected = answersOfTheCommandLine();
    await ready(page, "WebGPU");
    assert.deepEqual(await ask(page), expected);
    for (const [device, said] of [["WebGPU", /読み込み直しました/], ["CPU", /CPU で計算します/]]) {
      await workers.at(-1).evaluate(() => globalThis.device.destroy());
      assert.deepEqual(await ask(page), expected);
      await ready(page, device);
      assert.match(await page.textContent("#lost"), said);
    }
  }));
