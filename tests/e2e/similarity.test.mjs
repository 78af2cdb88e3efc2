// The similarity page: the table is that of the command line's vectors, the map has every sentence, and both can be taken away.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binary, longestTask, model, shots, visit } from "./site.mjs";

const rows = ["春の公園に花が咲く。", "朝ご飯にパンを食べる。", "公園で桜が咲いている。"];
const columns = ["今朝はパンを食べた。", "駅まで歩いて十分かかる。"];
let room, site, page, problems, end;

before(async () => {
  ({ room, site, page, problems, end } = await visit(() => ["--model", model]));
  await page.goto(`${site.origin}#similarity`);
  await page.waitForSelector("#models li[data-state=ready]", { timeout: 120_000 });
});
after(() => end());

const table = () => page.$$eval(".matrix tbody tr", (all) => all.map((row) => [...row.querySelectorAll("td")].map((cell) => Number(cell.dataset.cosine))));

async function compare(first, second, fill = (area, text) => page.fill(area, text)) {
  await fill("#first", first.join("\n"));
  await fill("#second", second.join("\n"));
  await page.press("#second", "Control+Enter");
  await page.waitForFunction(([rows, columns]) => {
    const found = document.querySelectorAll(".matrix tbody tr");
    return found.length === rows && found[0].querySelectorAll("td").length === columns;
  }, [first.length, second.length || first.length], { timeout: 60_000 });
}

/** The cosines between two lists by the command line's vectors. */
function cosines(first, second, pooling) {
  writeFileSync(join(room, "texts.jsonl"), [...first, ...second].map((text) => JSON.stringify({ text })).join("\n"));
  execFileSync(binary, ["embed", "--model", model, "--input", join(room, "texts.jsonl"), "--out", join(room, "v.jsonl"),
    "--normalize", "--pooling", pooling, "--device", "cpu"]);
  const vectors = readFileSync(join(room, "v.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line).embedding);
  const [left, right] = [vectors.slice(0, first.length), second.length ? vectors.slice(first.length) : vectors];
  return left.map((a) => right.map((b) => a.reduce((sum, value, i) => sum + value * b[i], 0)));
}

function assertSame(found, expected) {
  assert.deepEqual(found.map((row) => row.length), expected.map((row) => row.length));
  for (const [i, row] of expected.entries()) {
    for (const [j, cosine] of row.entries()) assert.ok(Math.abs(found[i][j] - cosine) <= 1e-3, `${i}, ${j}: ${found[i][j]} is not ${cosine}`);
  }
}

test("two lists are compared as by the command line's vectors, the nearest of each row marked", async () => {
  await compare(rows, columns);
  const found = await table();
  assertSame(found, cosines(rows, columns, "mean"));
  const nearest = await page.$$eval(".matrix tbody tr", (all) => all.map((row) => [...row.querySelectorAll("td")].findIndex((cell) => cell.classList.contains("nearest"))));
  assert.deepEqual(nearest, found.map((row) => row.indexOf(Math.max(...row))));
  assert.deepEqual(await page.$$eval(".matrix tbody th span", (all) => all.map((head) => head.textContent)), rows);
});

test("the vector of the first token gives another table", async () => {
  const before = await table();
  await page.selectOption("#pooling", "cls");
  await page.click("#compare");
  await page.waitForFunction((old) => document.querySelector(".matrix td[data-cosine]")?.dataset.cosine !== old, String(before[0][0]));
  assertSame(await table(), cosines(rows, columns, "cls"));
  await page.selectOption("#pooling", "mean");
});

test("a list alone is compared with itself: ones on the diagonal, mean and spread of the rest", async () => {
  await compare(rows, []);
  const found = await table();
  assertSame(found, cosines(rows, [], "mean"));
  const others = [found[0][1], found[0][2], found[1][2]];
  const mean = others.reduce((a, b) => a + b) / 3;
  const spread = Math.sqrt(others.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 2);
  const summary = await page.textContent("#summary");
  assert.ok(summary.includes(`平均 ${mean.toFixed(3)}、標準偏差 ${spread.toFixed(3)}`), summary);
  assert.ok(await page.$eval(".matrix tbody tr td", (cell) => !cell.classList.contains("nearest")), "a sentence is not its own neighbour");
});

test("every sentence of the map is read by the keyboard", async () => {
  await page.focus("figure[data-figure=sentences] .chart");
  await page.waitForSelector("figure[data-figure=sentences] .chart [role=img] svg");
  for (const [i, sentence] of rows.entries()) {
    await page.keyboard.press(i === 0 ? "Home" : "ArrowRight");
    assert.ok((await page.textContent("figure[data-figure=sentences] .tip strong")).endsWith(sentence));
  }
  await page.keyboard.press("Escape");
});

test("the table and the map are taken away as data", async () => {
  const saved = async (button) => {
    const download = page.waitForEvent("download");
    await page.click(button);
    return readFileSync(await (await download).path(), "utf8").trim().split("\n");
  };
  const lines = await saved("#matrix-csv");
  assert.equal(lines[0], `sentence,${rows.join(",")}`);
  assert.deepEqual(lines.slice(1).map((line) => line.split(",").slice(1).map(Number)), await table());
  const places = await saved("figure[data-figure=sentences] button:text-is('CSV')");
  assert.deepEqual(places.slice(1).map((line) => line.split(",")[1]), rows);
});

test("fifty sentences against fifty hold up nothing, more are refused in words", async () => {
  const many = (n) => Array.from({ length: n }, (_, i) => `${i} 番目の文は短い。`);
  await compare(rows, columns);
  // Typing fifty lines into a text area keeps the browser itself busy for as long: the page hears of them all the same.
  const put = (area, text) => page.$eval(area, (element, text) => {
    element.value = text;
    element.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }, text);
  let round = 0;
  const longest = await longestTask(page, () => compare(many(50), many(47 + round++), put));
  assert.ok(longest <= 50, `the page stood still for ${longest} ms`);
  await page.fill("#first", many(51).join("\n"));
  await page.click("#compare");
  assert.match(await (await page.waitForSelector("#compared [role=alert]")).textContent(), /1 to 50/);
});

test("a comparison is stopped, and the model is there again", async () => {
  await page.fill("#first", Array.from({ length: 50 }, (_, i) => `${i}${"桜の花が咲いた。".repeat(60)}`).join("\n"));
  await page.click("#compare");
  await page.click("#stop-compare");
  assert.equal(await page.locator(".matrix").count(), 0);
  await page.waitForSelector("#models li[data-state=ready]", { timeout: 120_000 });
  assert.deepEqual(problems, []);
});
