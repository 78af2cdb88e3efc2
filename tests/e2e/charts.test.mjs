// Figures that can be used, examples behind numbers, two models side by side; on the page and in the report of one file.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import { binary, dist, longestTask, model, problemsOf, results, root, run, serve, shots, visit } from "./site.mjs";

let room, site, context, page, problems, end;

/** Results of a second model, which answers everything else: the first one's, with another name and other predictions. */
function other(root) {
  for (const file of readdirSync(results, { recursive: true }).filter((name) => name.endsWith("results.json"))) {
    const report = JSON.parse(readFileSync(join(results, file), "utf8"));
    report.model = { ...report.model, name: "other", weights_blake3: "0123456789abcdef" };
    const lines = readFileSync(join(results, dirname(file), "samples.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
    const name = Object.keys(report.results)[0];
    const scored = lines.filter((line) => line.metrics?.top5_accuracy !== undefined);
    scored.forEach((line) => line.metrics.top5_accuracy = 1 - line.metrics.top5_accuracy);
    if (scored.length > 0) {
      report.results[name]["top5_accuracy,none"] = scored.reduce((sum, line) => sum + line.metrics.top5_accuracy, 0) / scored.length;
    }
    const folder = join(root, "other", name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "results.json"), JSON.stringify(report));
    writeFileSync(join(folder, "samples.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  }
}

before(async () => {
  ({ room, site, context, page, problems, end } = await visit((room) => {
    other(join(room, "more"));
    // Of documents, whose texts are read at their dots.
    execFileSync(binary, ["eval", "pseudo-perplexity", "--model", model, "--data", join(root, "public/corpus/food.jsonl"), "--limit", "12",
      "--positions", "4", "--out", join(room, "more"), "--bootstrap", "100", "--device", "cpu"]);
    return [results, join(room, "more"), run];
  }));
  await page.goto(`${site.origin}#results`);
  await page.waitForSelector("#results .board");
});
after(() => end());

const chart = (name) => `figure[data-figure="${name}"] .chart`;
const read = (name) => page.textContent(`figure[data-figure="${name}"] [aria-live]`);
const ticks = (name) => page.$$eval(`${chart(name)} [role=img] text`, (all) => all.map((text) => text.textContent.trim()));

async function drawn(name) {
  await page.locator(chart(name)).scrollIntoViewIfNeeded();
  await page.waitForSelector(`${chart(name)} .overlay`, { state: "attached" });
}

test("a figure is drawn when it comes into view, not before", async () => {
  const undrawn = await page.$$eval("figure", (all) => all.filter((one) => one.querySelector("[role=img]") === null).length);
  assert.ok(undrawn > 0, "figures below the fold wait");
  await drawn("models");
});

test("a pointer reads a mark, and a document its text", async () => {
  const found = "pseudo-perplexity-food";
  await drawn(found);
  const dot = page.locator(`${chart(found)} [role=img] circle[opacity="0.35"]`).first();
  const { x, y, width, height } = await dot.boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.waitForSelector(`${chart(found)} .tip q`);
  assert.match(await page.textContent(`${chart(found)} .tip`), /長さ.*: \d/);
  assert.match(await page.textContent(`${chart(found)} .tip q`), /[ぁ-ん]{2}/);
  await page.locator(chart(found)).screenshot({ path: join(shots, "chart-hover.png") });
  await page.mouse.move(0, 0);
  await page.waitForSelector(`${chart(found)} .tip`, { state: "detached" });
});

test("the keyboard goes through marks, says them, zooms, moves and leaves", async () => {
  await drawn("loss");
  await page.focus(chart("loss"));
  await page.keyboard.press("ArrowRight");
  const first = await read("loss");
  assert.match(first, /ステップ \(step\): 1/);
  await page.keyboard.press("ArrowRight");
  assert.match(await read("loss"), /ステップ \(step\): 2/);
  await page.keyboard.press("End");
  assert.match(await read("loss"), /学習率/);
  await page.keyboard.press("Home");
  assert.equal(await read("loss"), first);
  const whole = await ticks("loss");
  await page.keyboard.press("+");
  await page.waitForFunction(([chart, old]) => [...document.querySelectorAll(`${chart} [role=img] text`)].map((text) => text.textContent.trim()).join() !== old, [chart("loss"), whole.join()]);
  await page.keyboard.press("0");
  await page.waitForFunction(([chart, old]) => [...document.querySelectorAll(`${chart} [role=img] text`)].map((text) => text.textContent.trim()).join() === old, [chart("loss"), whole.join()]);
  await page.keyboard.press("Escape");
  assert.equal(await read("loss"), "");
});

test("a range is dragged over, redrawn with its own labels, and left again", async () => {
  await drawn("loss");
  const whole = await ticks("loss");
  const { x, y, width, height } = await page.locator(chart("loss")).boundingBox();
  const changed = () => page.waitForFunction(([chart, old]) => [...document.querySelectorAll(`${chart} [role=img] text`)].map((text) => text.textContent.trim()).join() !== old, [chart("loss"), whole.join()]);
  await page.mouse.move(x + 0.5 * width, y + 0.4 * height);
  await page.mouse.down();
  await page.mouse.move(x + 0.7 * width, y + 0.41 * height, { steps: 4 });
  await page.waitForSelector(`${chart("loss")} .overlay rect`, { state: "attached" });
  await page.mouse.up();
  await changed();
  const part = await ticks("loss");
  assert.ok(part.includes("24") && !part.includes("10"), `${part}`);
  await page.click(`figure[data-figure=loss] [data-reset]`);
  await page.waitForFunction(([chart, old]) => [...document.querySelectorAll(`${chart} [role=img] text`)].map((text) => text.textContent.trim()).join() === old, [chart("loss"), whole.join()]);
  await page.keyboard.down("Control");
  await page.mouse.move(x + 0.5 * width, y + 0.4 * height);
  await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  await changed();
  await page.dblclick(chart("loss"), { position: { x: 0.5 * width, y: 0.4 * height } });
});

test("a figure is taken away as pixels, twice as many as it has", async () => {
  await drawn("models");
  const download = page.waitForEvent("download");
  await page.click(`figure[data-figure=models] button:text-is("PNG")`);
  const file = await download;
  assert.equal(file.suggestedFilename(), "models.png");
  const png = readFileSync(await file.path());
  assert.equal(png.subarray(1, 4).toString(), "PNG");
  assert.equal(png.readUInt32BE(16), 1600);
  assert.ok(png.length > 20_000, "more than white");
  writeFileSync(join(shots, "models.png"), png);
});

test("the data of a figure is a table with headings, a page at a time", async () => {
  await page.click("figure[data-figure=loss] summary");
  await page.waitForSelector("figure[data-figure=loss] tbody tr");
  assert.deepEqual(await page.$$eval("figure[data-figure=loss] th", (all) => all.map((one) => one.textContent)), ["panel", "series", "x", "y"]);
  assert.equal(await page.locator("figure[data-figure=loss] tbody tr").count(), 50);
  await page.click("figure[data-figure=loss] .pager button:last-of-type");
  assert.match(await page.textContent("figure[data-figure=loss] .pager"), /51～/);
});

const rows = (column) => page.$$eval(`.examples tbody tr td:nth-child(${column})`, (all) => all.map((cell) => cell.textContent));

test("a number of the leaderboard opens its examples, to filter, search and sort", async () => {
  await page.click(".board tbody tr:first-child td button");
  await page.waitForSelector(".examples tbody tr");
  await page.selectOption("#examples [name=column]", "fill-mask/top5_accuracy");
  await page.waitForSelector(".examples [data-wrong]");
  const total = Number(await page.getAttribute(".examples", "data-total"));
  assert.ok(total >= 100, `${total}`);
  await page.check("#examples [name=wrong]");
  assert.ok((await rows(4)).every((answer) => answer.startsWith("✗")));
  await page.uncheck("#examples [name=wrong]");
  await page.fill("#examples [name=words]", "首都");
  await page.waitForFunction(() => document.querySelectorAll(".examples tbody tr").length < 10);
  assert.ok((await rows(2)).every((text) => text.includes("首都")));
  await page.fill("#examples [name=words]", "");
  const up = await rows(1);
  assert.equal(await page.getAttribute(".examples th:first-child", "aria-sort"), "ascending");
  await page.click(".examples th:first-child button");
  await page.waitForFunction((first) => document.querySelector(".examples tbody td").textContent !== first, up[0]);
  assert.equal(await page.getAttribute(".examples th:first-child", "aria-sort"), "descending");
  await page.locator("#examples").screenshot({ path: join(shots, "examples.png") });
});

test("two models are compared example by example, with the test that the leaderboard makes", async () => {
  await page.selectOption("#examples [name=first]", "run_step-00000040");
  await page.selectOption("#examples [name=second]", "other");
  await page.waitForSelector("#sums [data-p]");
  const p = Number(await page.getAttribute("#sums [data-p]", "data-p"));
  const [better, worse, equal] = (await page.getAttribute("#sums [data-better]", "data-better")).split(",").map(Number);
  const [both, left, right, neither] = (await page.getAttribute("#sums [data-right]", "data-right")).split(",").map(Number);
  assert.equal(better + worse + equal, both + left + right + neither);
  assert.deepEqual([better, worse, equal], [left, right, both + neither]);
  const board = JSON.parse(execFileSync(binary, ["leaderboard", results, join(room, "more"), "--format", "json"]));
  const column = board.columns.findIndex((one) => one.id === "fill-mask/top5_accuracy");
  const known = board.rows.map((row) => row.cells[column].p_value).find((value) => value !== null);
  assert.ok(Math.abs(known - p) < 1e-12, `${p} is not ${known}`);
  const advantages = (await rows(6)).filter((text) => text !== "").map(Number);
  assert.ok(advantages.length > 10, `${advantages}`);
  assert.deepEqual(advantages, [...advantages].sort((a, b) => b - a));
  await page.locator("#examples").screenshot({ path: join(shots, "comparison.png") });
  assert.deepEqual(problems, []);
});

test("dropped files are opened, and each that fails says so", async () => {
  await page.evaluate((files) => {
    const dataTransfer = new DataTransfer();
    files.forEach(([name, text]) => dataTransfer.items.add(new File([text], name)));
    document.querySelector("#results").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  }, [["results.json", "[]"], ["metrics.jsonl", "{}\n"]]);
  await page.waitForFunction(() => document.querySelectorAll("#results .failures li").length === 2);
  assert.match(await page.textContent("#results .failures"), /results\.json: /);
});

test("nothing holds up the page, from opening results to comparing models", async () => {
  const empty = await serve();
  const tab = await context.newPage();
  await tab.goto(`${empty.origin}#results`);
  await tab.waitForSelector("#results");
  cpSync(results, join(room, "more"), { recursive: true, filter: (path) => !path.endsWith(".safetensors") });
  cpSync(join(run, "metrics.jsonl"), join(room, "more/run/metrics.jsonl"));
  const longest = await longestTask(tab, async () => {
    await tab.setInputFiles("#results input[type=file] >> nth=1", join(room, "more"));
    await tab.waitForSelector("#results .board");
    await tab.waitForSelector("figure[data-figure=models]");
    for (const figure of await tab.locator("figure").all()) {
      await figure.scrollIntoViewIfNeeded();
      await figure.locator(".overlay").waitFor({ state: "attached" });
    }
    await tab.click(".board tbody tr:first-child td button");
    await tab.selectOption("#examples [name=column]", "fill-mask/top5_accuracy");
    await tab.selectOption("#examples [name=first]", "other");
    await tab.selectOption("#examples [name=second]", "run_step-00000040");
    await tab.waitForSelector("#sums [data-p]");
    await tab.click("#examples .choice button");
  });
  assert.ok(longest <= 50, `a task of ${longest} ms`);
  await tab.close();
  empty.stop();
});

test("the report of one file opens without a server and can do the same", async () => {
  const out = join(room, "report.html");
  execFileSync(binary, ["report", results, join(room, "more"), run, "--page", dist, "--out", out]);
  assert.ok(statSync(out).size < 16 << 20, `${statSync(out).size} bytes`);
  const tab = await context.newPage();
  const [errors, requests] = [problemsOf(tab), []];
  tab.on("request", (request) => requests.push(request.url()));
  await context.setOffline(true);
  await tab.goto(pathToFileURL(out).href);
  await tab.waitForSelector("#results .board");
  assert.equal(await tab.locator("main").count(), 1, "the readable version is gone");
  assert.equal(await tab.locator("nav").count(), 0);
  const loss = tab.locator("figure[data-figure=loss] .chart");
  await loss.scrollIntoViewIfNeeded();
  await loss.locator(".overlay").waitFor({ state: "attached" });
  await loss.focus();
  await tab.keyboard.press("ArrowRight");
  await tab.waitForSelector("figure[data-figure=loss] .tip");
  await tab.click(".board tbody tr:first-child td button");
  await tab.selectOption("#examples [name=column]", "fill-mask/top5_accuracy");
  await tab.selectOption("#examples [name=second]", "other");
  await tab.waitForSelector("#sums [data-p]");
  await tab.screenshot({ path: join(shots, "report.png") });
  const download = tab.waitForEvent("download");
  await tab.click(`figure[data-figure=loss] button:text-is("PNG")`);
  assert.ok(statSync(await (await download).path()).size > 10_000);
  assert.deepEqual(requests.filter((url) => !url.startsWith("blob:")), [pathToFileURL(out).href]);
  assert.deepEqual(errors, []);
  await context.setOffline(false);
});
