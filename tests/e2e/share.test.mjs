// Sharing: what one reader shares another sees, with nothing loaded or sent; what is damaged is refused in words.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { devices, model, open, problemsOf, serve } from "./site.mjs";

const text = "朝ご飯に[MASK]を食べて、お茶を[MASK]。";
let site, first, second, page, other, problems, requests, room;

before(async () => {
  room = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
  // The same model with other weights, under the same name.
  cpSync(model, join(room, "other"), { recursive: true });
  const weights = readFileSync(join(model, "model.safetensors"));
  weights[weights.length - 1] ^= 1;
  writeFileSync(join(room, "other/model.safetensors"), weights);
  site = await serve("--model", model, "--model", join(room, "other"));
  [first, second] = [await open(join(room, "first"), devices[1].flags), await open(join(room, "second"), devices[1].flags)];
  await first.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(site.origin).origin });
  page = await first.newPage();
  problems = [problemsOf(page)];
  await page.goto(site.origin);
  await ready(page, site.name);
});
after(async () => {
  await first.close();
  await second.close();
  site.stop();
  rmSync(room, { recursive: true, force: true });
});

const ready = (of, name) => of.waitForSelector(`#models li[data-model="${name}"][data-state=ready]`, { timeout: 120_000 });

/** Opens an address in the second profile as if it had come in a message. */
async function receive(address) {
  await other?.close();
  other = await second.newPage();
  other.setDefaultTimeout(20_000);
  requests = [];
  other.on("request", (request) => requests.push(request.url()));
  problems.push(problemsOf(other));
  await other.goto(address);
  await ready(other, site.name);
}

/** Shares a page; the address comes from the clipboard. */
async function share(section) {
  await page.click(`${section} .share-link`);
  await page.waitForSelector(`${section} .address`);
  const address = await page.inputValue(`${section} .address`);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), address);
  assert.equal(await page.evaluate(() => location.href), address);
  return address;
}

const answers = (of) => of.$$eval("#answer article tr", (rows) => rows.map((row) => [row.dataset.token, Number(row.dataset.probability)]));
const hits = (of) => of.$$eval("#found li", (all) => all.map((hit) => hit.textContent));
const table = (of) => of.$$eval(".matrix td[data-cosine]", (all) => all.map((cell) => [cell.classList.contains("nearest"), Number(cell.dataset.cosine)]));

/** Pairs whose first parts are the same and whose second parts differ by rounding alone. */
function assertSame(found, expected, tolerance) {
  assert.ok(found.length > 0);
  assert.deepEqual(found.map(([what]) => what), expected.map(([what]) => what));
  for (const [i, [what, number]] of expected.entries()) assert.ok(Math.abs(found[i][1] - number) <= tolerance, `${i}, ${what}: ${found[i][1]} is not ${number}`);
}

describe("a link", () => {
  let fillMask;

  test("brings text and answers of the fill-mask page into a second profile, with nothing more loaded or sent", async () => {
    await page.fill("#text", text);
    await page.click("#fill");
    await page.waitForSelector("#answer article");
    fillMask = await share("#page-fill-mask");
    assert.match(fillMask, /#fill-mask\?s=v1\.[A-Za-z0-9_-]+$/);
    // The page keeps the model that it loads by itself.
    await receive(site.origin);
    await receive(site.origin);
    const without = new Set(requests.map((url) => new URL(url).pathname));
    await receive(fillMask);
    assert.deepEqual(requests.filter((url) => !without.has(new URL(url).pathname) || new URL(url).search), []);
    assert.equal(await other.inputValue("#text"), text);
    assertSame(await answers(other), await answers(page), 1e-5);
    const sha256 = (await (await fetch(`${site.origin}site.json`)).json()).models[0].files.find((file) => file.url.endsWith(".safetensors")).sha256;
    assert.ok((await other.textContent(".shared-note")).includes(`${site.name} (SHA-256 ${sha256.slice(0, 12)}`));
  });

  test("can be computed again with the same model, and says so where another is at hand", async () => {
    await other.click("#models li .remove");
    assert.match(await other.textContent(".shared-note"), /同じモデルを読み込んで/);
    const name = await other.getAttribute(`button.offer:not([data-model="${site.name}"])`, "data-model");
    await other.click(`button.offer[data-model="${name}"]`);
    await ready(other, name);
    assert.match(await other.textContent(".shared-note"), /重みが異なる/);
    assert.equal(await other.locator(".compute-again").count(), 0);
    await other.click("#models li .remove");
    await other.click(`button.offer[data-model="${site.name}"]`);
    await other.click("#page-fill-mask .compute-again", { timeout: 120_000 });
    await other.waitForSelector("#answer .tokens", { timeout: 60_000 });
    assertSame(await answers(other), await answers(page), 1e-5);
    assert.equal(await other.locator(".shared-note").count(), 0);
  });

  test("keeps what is typed when the reader goes to another page and back", async () => {
    await receive(fillMask);
    await other.fill("#text", "自分の文[MASK]");
    await other.click("nav a[href='#retrieval']");
    await other.goBack();
    assert.equal(await other.inputValue("#text"), "自分の文[MASK]");
  });

  test("brings query and hits of the retrieval page", async () => {
    await page.click("nav a[href='#retrieval']");
    await page.fill("#passages", "春の公園に花が咲く。\n\n朝ご飯にパンを食べる。\n\n駅まで歩く。");
    await page.click("#make-index");
    await page.waitForSelector("#index [data-passages='3']");
    await page.fill("#query", "公園の花");
    await page.press("#query", "Enter");
    await page.waitForSelector("#found li");
    await receive(await share("#retrieval"));
    assert.equal(await other.inputValue("#query"), "公園の花");
    assert.equal(await other.inputValue("#passages"), await page.inputValue("#passages"));
    assert.deepEqual(await hits(other), await hits(page));
    await other.click("#retrieval .compute-again");
    await other.waitForSelector("#index [data-passages='3']");
    await other.waitForFunction(() => document.querySelectorAll(".shared-note").length === 0 && document.querySelectorAll("#found li").length > 0);
    assert.deepEqual(await hits(other), await hits(page));
  });

  test("leaves long passages out, says so, and a file holds them", async () => {
    await page.fill("#passages", Array.from({ length: 9000 }, (_, i) => String.fromCharCode(0x4e00 + (i * i * 31) % 20000)).join(""));
    await receive(await share("#retrieval"));
    assert.equal(await other.inputValue("#passages"), "");
    assert.deepEqual(await hits(other), await hits(page));
    assert.match(await page.textContent("#retrieval .share [role=status]"), /文書は長いので/);
    assert.ok(await page.isVisible("#retrieval .share-file"));
  });

  test("brings sentences, table and map of the similarity page", async () => {
    await page.click("nav a[href='#similarity']");
    await page.click("#compare");
    await page.waitForSelector(".matrix");
    await receive(await share("#similarity"));
    assert.equal(await other.inputValue("#first"), await page.inputValue("#first"));
    assertSame(await table(other), await table(page), 1e-4);
    await other.focus("figure[data-figure=sentences] .chart");
    await other.waitForSelector("figure[data-figure=sentences] .chart [role=img] svg");
  });

  test("is refused in words when it is cut, altered, too long, too new or for another page, and the page works on", async () => {
    const link = fillMask.split("?s=")[1];
    const at = (fragment) => `${site.origin}#${fragment}`;
    for (const [address, words] of [
      [at(`fill-mask?s=${link.slice(0, -9)}`), /途中で切れている/],
      [at(`fill-mask?s=${link.slice(0, 40)}${link[40] === "A" ? "B" : "A"}${link.slice(41)}`), /書き換えられて/],
      [at(`fill-mask?s=${link}${"A".repeat(9000)}`), /長すぎます/],
      [at(`fill-mask?s=${link.replace("v1.", "v2.")}`), /新しい形式/],
      [at(`retrieval?s=${link}`), /書き換えられて/],
      [at("fill-mask?s=%00"), /書き換えられて/],
    ]) {
      await receive(address);
      assert.match(await other.textContent("#refused"), words, address);
      assert.equal(await other.locator(".shared-note").count(), 0);
      const shown = await other.$$eval("#text", (all) => all.map((one) => one.value));
      assert.ok(!shown.includes(text));
    }
    await other.click("nav a[href='#retrieval']");
    await other.waitForSelector("#refused", { state: "detached" });
  });
});

test("what is too long for a link goes through a file", async () => {
  await page.click("nav a[href='#fill-mask']");
  const long = `${Array.from({ length: 9000 }, (_, i) => String.fromCharCode(0x4e00 + (i * i * 31) % 20000)).join("")}[MASK]`;
  await page.fill("#text", long);
  await page.click("#page-fill-mask .share-link");
  const download = page.waitForEvent("download");
  await page.click("#page-fill-mask .share-file");
  const file = join(room, "shared.json");
  await (await download).saveAs(file);
  await receive(`${site.origin}#retrieval`);
  await other.setInputFiles("#retrieval .open-shared", file);
  await other.waitForFunction(() => location.hash === "#fill-mask");
  assert.equal(await other.inputValue("#text"), long);
  await other.setInputFiles("#page-fill-mask .open-shared", { name: "x.json", mimeType: "application/json", buffer: Buffer.from("{}") });
  assert.match(await (await other.waitForSelector("#refused")).textContent(), /開けませんでした/);
});

test("without a clipboard the link is in a field", async () => {
  await receive(site.origin);
  await other.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await other.click("#page-fill-mask .share-link");
  const field = await other.waitForSelector("#page-fill-mask .address");
  assert.match(await other.textContent("#page-fill-mask .share [role=status]"), /下の欄/);
  await field.focus();
  const chosen = await field.evaluate((input) => input.value.slice(input.selectionStart, input.selectionEnd));
  assert.ok(chosen.startsWith(`${site.origin}#fill-mask?s=v1.`));
  assert.deepEqual(problems.flat(), []);
});
