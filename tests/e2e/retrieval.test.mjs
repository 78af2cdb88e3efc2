// The retrieval page: passages of the reader's own, an index that grows without holding up the page, both ways of
// searching as the command line computes them, the index as a file.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binary, longestTask, model, shots, visit } from "./site.mjs";

const query = "春の公園に咲く花";
let room, site, page, problems, end, passages;

before(async () => {
  const corpus = readFileSync(new URL("../../public/corpus/nature.jsonl", import.meta.url), "utf8").trim().split("\n");
  const sentences = corpus.flatMap((line) => JSON.parse(line).text.split("。")).map((one) => one.replaceAll(/\s+/g, "").trim());
  passages = [...new Set(sentences.filter((one) => one.length > 8))].slice(0, 200);
  assert.equal(passages.length, 200);
  ({ room, site, page, problems, end } = await visit((room) => {
    writeFileSync(join(room, "passages.jsonl"), passages.map((text) => JSON.stringify({ text })).join("\n"));
    return ["--model", model];
  }));
  await page.goto(`${site.origin}#retrieval`);
});
after(() => end());

const hits = (by) => page.$$eval(`#found [data-by=${by}] li`, (all) => all.map((hit) =>
  ({ number: Number(hit.dataset.number), score: Number(hit.dataset.score), marked: [...hit.querySelectorAll("mark")].map((mark) => mark.textContent) })));

async function search(text) {
  await page.fill("#query", text);
  await page.press("#query", "Enter");
  await page.waitForSelector(`#found [data-query="${text}"] [data-by=meaning] li`, { timeout: 60_000 });
}

/** Numbers and cosines of the nearest passages, from the vectors of the command line. */
function nearest() {
  writeFileSync(join(room, "texts.jsonl"), [query, ...passages].map((text) => JSON.stringify({ text })).join("\n"));
  execFileSync(binary, ["embed", "--model", model, "--input", join(room, "texts.jsonl"), "--out", join(room, "v.jsonl"), "--normalize", "--device", "cpu"]);
  const [asked, ...rows] = readFileSync(join(room, "v.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line).embedding);
  const scores = rows.map((row, number) => ({ number, score: row.reduce((sum, value, i) => sum + value * asked[i], 0) }));
  return scores.sort((a, b) => b.score - a.score).slice(0, 10);
}

test("200 passages are indexed with progress while the page stays awake", async () => {
  await page.waitForSelector("#models li[data-state=ready]", { timeout: 120_000 });
  await page.setInputFiles("#open-passages", join(room, "passages.jsonl"));
  await page.waitForFunction(() => document.querySelector("#passages").value.length > 2000);
  const longest = await longestTask(page, async () => {
    await page.click("#make-index");
    await page.waitForSelector("#index progress");
    await page.waitForSelector("#index [data-passages='200']", { timeout: 300_000 });
  });
  assert.ok(longest <= 50, `the page stood still for ${longest} ms`);
});

test("the nearest by meaning are those of the command line's vectors", async () => {
  await search(query);
  const [found, expected] = [await hits("meaning"), nearest()];
  assert.deepEqual(found.map((hit) => hit.number), expected.map((hit) => hit.number));
  for (const [rank, hit] of expected.entries()) assert.ok(Math.abs(found[rank].score - hit.score) <= 1e-3, `rank ${rank}`);
});

test("the best by words share what is marked, best first", async () => {
  const found = await hits("words");
  assert.ok(found.length > 0 && found.every((hit) => hit.marked.length > 0 && hit.marked.every((text) => passages[hit.number].includes(text))));
  assert.deepEqual(found.map((hit) => hit.score), found.map((hit) => hit.score).sort((a, b) => b - a));
  await page.screenshot({ path: join(shots, "retrieval.png"), fullPage: true });
});

test("the index is saved, and opened again it finds the same", async () => {
  const before = await hits("meaning");
  const download = page.waitForEvent("download");
  await page.click("#save-index");
  const file = join(room, "index.safetensors");
  await (await download).saveAs(file);
  await page.reload();
  await page.waitForSelector("#models li[data-state=ready]", { timeout: 120_000 });
  await page.setInputFiles("#open-index", file);
  await page.waitForSelector("#index [data-passages='200']");
  await search(query);
  assert.deepEqual(await hits("meaning"), before);
  writeFileSync(file, readFileSync(file).subarray(0, -5));
  await page.setInputFiles("#open-index", file);
  await page.waitForSelector("#index [role=alert]");
});

test("an index without its model, and files that are no passages, are refused in words", async () => {
  await page.click("#models li .remove");
  await page.setInputFiles("#open-passages", { name: "bad.jsonl", mimeType: "text/plain", buffer: Buffer.from('{"text":"a"}\n{') });
  const alert = await page.waitForSelector("#index [role=alert]:has-text('line 2')");
  assert.match(await alert.textContent(), /bad\.jsonl/);
  assert.ok(await page.isDisabled("#make-index"));
});

test("at a phone's width nothing stands out", async () => {
  await page.setViewportSize({ width: 360, height: 800 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${overflow} pixels stand out`);
  assert.deepEqual(problems, []);
});
