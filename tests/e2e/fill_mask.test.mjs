// The page in a real Chromium: it must answer as the command line does, on WebGPU and without it.
// Run by tests/all.sh: node --test tests/e2e, after web/build.sh, with ANAUME_BIN and ANAUME_MODEL.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { binary, devices, longestTask, model, open, problemsOf, serve, shots } from "./site.mjs";

const text = "朝ご飯に[MASK]を食べて、お茶を[MASK]。";
const files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map((name) => join(model, name));

let site;
before(async () => {
  mkdirSync(shots, { recursive: true });
  site = await serve("--model", model);
});
after(() => site.stop());

function answersOfTheCommandLine() {
  const answer = execFileSync(binary, ["fill-mask", "--model", model, text, "--device", "cpu", "--json"]);
  return JSON.parse(answer).models[0].texts[0].masks;
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
    let context, page, problems, profile;

    const ready = (name) => page.waitForSelector(`#models li[data-model="${name}"][data-state=ready][data-device="${device}"]`, { timeout: 120_000 });
    const state = (name, wanted) => page.waitForSelector(`#models li[data-model="${name}"][data-state=${wanted}]`, { timeout: 120_000 });
    const ask = async (asked, models) => {
      await page.fill("#text", asked);
      await page.click("#fill");
      await page.waitForFunction((n) => document.querySelectorAll("#answer article").length === n, models, { timeout: 120_000 });
    };
    const answers = () => page.$$eval("#answer article", (articles) => articles.map((article) =>
      [...article.querySelectorAll("table")].map((table) => [...table.querySelectorAll("tr")].map((row) =>
        ({ token: row.dataset.token, probability: Number(row.dataset.probability) })))));

    before(async () => {
      profile = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
      context = await open(profile, flags);
      page = await context.newPage();
      problems = problemsOf(page);
      await page.goto(site.origin);
    });
    after(async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    });

    test("the site's model loads by itself and says where it computes", async () => {
      await ready(site.name);
    });

    test("the masks are filled as by the command line, and the page is never held up", async () => {
      // The first answer makes the browser load a font for its characters.
      await ask(text, 1);
      const longest = await longestTask(page, () => ask(text, 1));
      assertSameAnswers((await answers())[0], answersOfTheCommandLine());
      await page.screenshot({ path: join(shots, `fill-mask-${device}.png`), fullPage: true });
      assert.ok(longest <= 50, `the page stood still for ${longest} ms`);
    });

    test("the tokens are shown with their places", async () => {
      const tokens = await page.$$eval(".tokens .token", (all) => all.map((token) => [token.textContent, token.title, token.className]));
      assert.equal(tokens.filter(([, , kind]) => kind.includes("mask")).length, 2);
      assert.ok(tokens.some(([, title]) => title.endsWith("· 4–10")), "the first mask stands at characters 4 to 10");
    });

    test("a candidate goes into the text at a click", async () => {
      const [[first]] = await answers();
      await page.click("#answer table:first-of-type tr:first-child button");
      assert.equal(await page.inputValue("#text"), text.replace("[MASK]", first[0].token));
    });

    test("a text without a mask is refused in words", async () => {
      await ask("穴のない文。", 1);
      assert.match(await page.textContent("#answer [role=alert]"), /\[MASK\] を文に入れてください/);
    });

    test("the mask goes in where the caret is, by button and by key, and not in the middle of a conversion", async () => {
      await page.fill("#text", "春になると😀が咲く");
      await page.$eval("#text", (area) => area.setSelectionRange(5, 5));
      await page.click("#insert");
      assert.equal(await page.inputValue("#text"), "春になると[MASK]😀が咲く");
      await page.press("#text", "Control+m");
      assert.equal(await page.inputValue("#text"), "春になると[MASK][MASK]😀が咲く");
      const before = await page.innerHTML("#answer");
      await page.$eval("#text", (area) => area.dispatchEvent(
        new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, isComposing: true, bubbles: true })));
      await page.waitForTimeout(200);
      assert.equal(await page.innerHTML("#answer"), before);
    });

    test("a long computation is stopped at once, and the model is there again", async () => {
      await page.fill("#text", `${"桜の花が咲いた。".repeat(200)}[MASK]`);
      await page.click("#fill");
      await page.click("#cancel");
      assert.equal(await page.locator("#answer article").count(), 0);
      await ready(site.name);
      await ask(text, 1);
      assertSameAnswers((await answers())[0], answersOfTheCommandLine());
    });

    test("a model of the reader's own answers beside the site's", async () => {
      await page.setInputFiles("input[type=file]", files);
      await ready("local-1");
      await ask(text, 2);
      for (const found of await answers()) assertSameAnswers(found, answersOfTheCommandLine());
      await page.screenshot({ path: join(shots, `side-by-side-${device}.png`), fullPage: true });
    });

    test("a damaged or incomplete model of the reader's own is refused in words", async () => {
      const damaged = join(profile, "model.safetensors");
      writeFileSync(damaged, readFileSync(files[3]).subarray(0, -10));
      await page.setInputFiles("input[type=file]", [...files.slice(0, 3), damaged]);
      assert.match(await (await state("local-2", "failed")).textContent(), /truncated/);
      await page.setInputFiles("input[type=file]", files.slice(0, 2));
      assert.match(await (await state("local-3", "failed")).textContent(), /model\.safetensors.*まとめて/s);
    });

    test("the page is in English at a click, at a phone's width too", async () => {
      await page.click("#language");
      assert.equal(await page.getAttribute("html", "lang"), "en");
      await page.setViewportSize({ width: 360, height: 800 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${overflow} pixels stand out`);
      await page.screenshot({ path: join(shots, `phone-${device}.png`), fullPage: true });
      assert.deepEqual(problems, []);
    });
  });
}
