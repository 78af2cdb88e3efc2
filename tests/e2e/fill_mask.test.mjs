// The page in a real Chromium: it must answer as the command line does, on WebGPU and without it.
// Run by tests/all.sh: node --test tests/e2e, after web/build.sh MODEL, with ANAUME_BIN and ANAUME_MODEL.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const dist = join(root, "web/dist");
const shots = join(root, "target/e2e");
const { ANAUME_BIN: binary, ANAUME_MODEL: model, CHROMIUM = "/usr/bin/chromium" } = process.env;
const text = "朝ご飯に[MASK]を食べて、お茶を[MASK]。";
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
  ".wasm": "application/wasm", ".json": "application/json" };
const common = ["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const devices = [
  { device: "WebGPU", flags: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] },
  { device: "CPU", flags: ["--disable-features=WebGPU", "--disable-gpu"] },
];

let server, origin;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = createServer((request, response) => {
    const path = join(dist, normalize(new URL(request.url, "http://localhost").pathname));
    const file = path.endsWith("/") ? join(path, "index.html") : path;
    if (!file.startsWith(dist) || !existsSync(file)) return response.writeHead(404).end();
    const body = readFileSync(file);
    response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream", "content-length": body.length });
    response.end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  origin = `http://127.0.0.1:${server.address().port}/`;
});
after(() => server.close());

function answersOfTheCommandLine() {
  const answer = execFileSync(binary, ["fill-mask", "--model", model, text, "--device", "cpu", "--json"]);
  return JSON.parse(answer).models[0].texts[0].masks;
}

async function answersOfThePage(page) {
  await page.fill("#text", text);
  await page.click("#fill");
  await page.waitForSelector("#answer table", { timeout: 120_000 });
  return page.$$eval("#answer table", (tables) => tables.map((table) =>
    [...table.querySelectorAll("tr")].map((row) => ({ token: row.dataset.token, probability: Number(row.dataset.probability) }))));
}

function assertSameAnswers(found, expected) {
  assert.equal(found.length, expected.length, "one table a mask");
  for (const [mask, candidates] of expected.entries()) {
    assert.deepEqual(found[mask].map((row) => row.token), candidates.map((row) => row.token.trim()));
    for (const [rank, { probability }] of candidates.entries()) {
      assert.ok(Math.abs(found[mask][rank].probability - probability) <= 1e-3, `mask ${mask}, rank ${rank}`);
    }
  }
}

for (const { device, flags } of devices) {
  describe(device, () => {
    let context, page, profile;
    const problems = [];

    before(async () => {
      profile = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
      context = await chromium.launchPersistentContext(profile,
        { executablePath: CHROMIUM, args: [...common, ...flags], locale: "ja-JP", viewport: { width: 900, height: 900 } });
      page = await context.newPage();
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("console", (line) => line.type() === "error" && problems.push(line.text()));
      await page.goto(origin);
    });
    after(async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    });

    test("the site's model loads and says where it computes", async () => {
      await page.click("#load");
      await page.waitForSelector(`#state [data-origin=site][data-device="${device}"]`, { timeout: 120_000 });
    });

    test("the masks are filled as by the command line", async () => {
      assertSameAnswers(await answersOfThePage(page), answersOfTheCommandLine());
      await page.screenshot({ path: join(shots, `fill-mask-${device}.png`), fullPage: true });
    });

    test("a text without a mask is refused in words", async () => {
      await page.fill("#text", "穴のない文。");
      await page.click("#fill");
      assert.match(await page.textContent("#answer [role=alert]"), /\[MASK\]/);
    });

    test("the mask goes in where the caret is", async () => {
      await page.fill("#text", "春になると😀が咲く");
      await page.$eval("#text", (area) => area.setSelectionRange(5, 5));
      await page.click("#insert");
      assert.equal(await page.inputValue("#text"), "春になると[MASK]😀が咲く");
    });

    test("the page is in English at a click, at a phone's width too", async () => {
      await page.click("header button");
      assert.equal(await page.getAttribute("html", "lang"), "en");
      await page.setViewportSize({ width: 360, height: 800 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${overflow} pixels stand out`);
      await page.screenshot({ path: join(shots, `phone-${device}.png`), fullPage: true });
    });

    test("a model of the reader's own is read from its files, a damaged one is refused", async () => {
      await page.click("header button");
      const files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map((name) => join(model, name));
      await page.setInputFiles("input[type=file]", files);
      await page.waitForSelector(`#state [data-origin=files][data-device="${device}"]`, { timeout: 120_000 });
      assertSameAnswers(await answersOfThePage(page), answersOfTheCommandLine());
      const damaged = join(profile, "model.safetensors");
      writeFileSync(damaged, readFileSync(files[3]).subarray(0, -10));
      await page.setInputFiles("input[type=file]", [...files.slice(0, 3), damaged]);
      await page.waitForSelector("#state [role=alert]");
      assert.match(await page.textContent("#state [role=alert]"), /truncated/);
      assert.deepEqual(problems, []);
    });
  });
}
