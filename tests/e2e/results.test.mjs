// The results page: what `anaume serve` lists, figures to take away, a run that goes on, files of the reader's own.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { drop, results, run, shots, visit } from "./site.mjs";

let room, site, page, problems, end;

before(async () => {
  ({ room, site, page, problems, end } = await visit((room) => {
    cpSync(run, join(room, "run"), { recursive: true, filter: (path) => !path.endsWith(".safetensors") });
    return [results, join(room, "run")];
  }));
  await page.goto(site.origin);
});
after(() => end());

test("the leaderboard and the figures of the server's results are shown", async () => {
  await page.click("nav a[href='#results']");
  await page.waitForSelector("#results .board", { timeout: 60_000 });
  assert.match(await page.textContent(".board tbody th"), /step-00000040/);
  for (const name of ["loss", "models", "alignment-built-in", "similarity-built-in"]) {
    await page.locator(`figure[data-figure="${name}"]`).scrollIntoViewIfNeeded();
    await page.waitForSelector(`figure[data-figure="${name}"] [role=img] svg text`);
  }
  await page.screenshot({ path: join(shots, "results.png"), fullPage: true });
});

test("a figure can be taken away as a drawing and as data", async () => {
  for (const [button, start] of [["SVG", "<svg"], ["CSV", "panel,"]]) {
    const download = page.waitForEvent("download");
    await page.click(`figure[data-figure=models] button:text-is("${button}")`);
    const file = await download;
    assert.equal(file.suggestedFilename(), `models.${button.toLowerCase()}`);
    assert.ok(readFileSync(await file.path(), "utf8").startsWith(start));
  }
});

test("a run that goes on is followed", async () => {
  const log = join(room, "run/metrics.jsonl");
  const lines = readFileSync(log, "utf8");
  const step = JSON.parse(lines.split("\n").filter((line) => line.includes('"step"') && JSON.parse(line).event === "step").at(-1));
  const before = await page.innerHTML("figure[data-figure=loss]");
  await page.check("#results input[type=checkbox]");
  // Half a line is not read yet.
  writeFileSync(log, `${lines}${JSON.stringify({ ...step, step: step.step + 25 })}\n{"event":"st`);
  await page.waitForFunction((old) => document.querySelector("figure[data-figure=loss]").innerHTML !== old, before, { timeout: 30_000 });
  assert.equal(await page.locator("#results [role=alert]").count(), 0);
  await page.uncheck("#results input[type=checkbox]");
});

test("a file that is no result is refused in words, and the rest stays", async () => {
  await page.setInputFiles("#results input[type=file] >> nth=0", { name: "results.json", mimeType: "application/json", buffer: Buffer.from("[]") });
  await page.waitForSelector("#results [role=alert]");
  assert.ok(await page.locator("#results .board").count() === 1);
});

test("a folder that is dropped is read with everything in it", async () => {
  const models = () => page.$$eval(".board tbody th", (all) => all.map((one) => one.textContent));
  const before = await models();
  const file = readdirSync(results, { recursive: true }).find((name) => name.endsWith("results.json"));
  const report = JSON.parse(readFileSync(join(results, file), "utf8"));
  report.model = { ...report.model, name: "dropped", weights_blake3: "0123456789abcdef" };
  mkdirSync(join(room, "mine/inner"), { recursive: true });
  writeFileSync(join(room, "mine/inner/results.json"), JSON.stringify(report));
  cpSync(join(results, dirname(file), "samples.jsonl"), join(room, "mine/inner/samples.jsonl"));
  await drop(page, join(room, "mine"), "#results > div.row");
  await page.waitForFunction((count) => document.querySelectorAll(".board tbody th").length > count, before.length);
  assert.ok((await models()).some((name) => name.includes("dropped")), `${await models()}`);
  await page.click(".board tbody tr:has(th:has-text('dropped')) td button");
  await page.waitForSelector(".examples tbody tr");
});

test("what was typed on a page stays, the address names the page, and nothing stands out of a phone", async () => {
  await page.click("nav a[href='#fill-mask']");
  await page.fill("#text", "春の[MASK]");
  await page.click("nav a[href='#results']");
  await page.goBack();
  assert.equal(await page.inputValue("#text"), "春の[MASK]");
  await page.goto(`${site.origin}#results`);
  await page.setViewportSize({ width: 360, height: 800 });
  await page.waitForSelector("#results .board");
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${overflow} pixels stand out`);
  await page.screenshot({ path: join(shots, "results-phone.png") });
  assert.deepEqual(problems, []);
});
