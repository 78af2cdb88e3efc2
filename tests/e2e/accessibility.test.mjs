// Every page for every reader: no serious finding of axe-core in either language and colour scheme, nothing beyond a
// phone's width, everything by the keyboard. Leaves screenshots of each page to be looked at.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { model, results, run, shots, visit } from "./site.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pages = ["fill-mask", "retrieval", "similarity", "results", "models"];
let site, page, problems, end;

before(async () => {
  ({ site, page, problems, end } = await visit(() => ["--model", model, results, run]));
  await page.goto(site.origin);
});
after(() => end());

async function show(name) {
  await page.click(`nav a[href='#${name}']`);
  const map = "#similarity figure .chart";
  if (name === "similarity" && await page.locator(map).count() > 0) {
    // It is drawn when it comes into view, and made anew when the language changes.
    await page.waitForFunction((map) => {
      document.querySelector(map)?.scrollIntoView();
      return document.querySelector(`${map} [role=img] svg`);
    }, map);
    await page.focus(map);
  }
}

/** Brings every page to a result. */
async function fillAll() {
  await page.waitForSelector("#models li[data-state=ready]", { timeout: 120_000 });
  await show("fill-mask");
  await page.click("#fill");
  await page.waitForSelector("#answer article");
  await page.click("#page-fill-mask .share-link");
  await page.waitForSelector("#page-fill-mask .address");
  await show("retrieval");
  await page.fill("#passages", "春の公園に花が咲く。\n朝ご飯にパンを食べる。\n公園のベンチで本を読む。\n駅まで歩いて十分かかる。");
  await page.click("#make-index");
  await page.waitForSelector("#index [data-passages='4']");
  await page.fill("#query", "公園の花");
  await page.press("#query", "Enter");
  await page.waitForSelector("#found li");
  await show("similarity");
  await page.click("#compare");
  await page.waitForSelector(".matrix");
  await show("results");
  await page.waitForSelector("#results .board", { timeout: 60_000 });
}

/** What axe-core finds serious or critical, in words. */
async function findings() {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  return serious.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)}`));
}

test("the first page has no serious finding before anything is loaded", async () => {
  assert.deepEqual(await findings(), []);
});

test("text goes in, the masks are filled and a candidate is taken by the keyboard alone", async () => {
  const reach = async (selector) => {
    for (let presses = 0; presses < 60; presses++) {
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not lead to ${selector}`);
  };
  await page.evaluate(() => document.activeElement?.blur());
  await page.waitForSelector("#models li[data-state=ready]", { timeout: 120_000 });
  await reach("#text");
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText("今日は");
  await page.keyboard.press("Control+m");
  await page.keyboard.press("Control+Enter");
  await page.waitForSelector("#answer article");
  await reach("#answer .candidate");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid", "where the focus is can be seen");
  await page.keyboard.press("Enter");
  assert.doesNotMatch(await page.inputValue("#text"), /\[MASK\]/);
  await page.reload();
});

test("no page has a serious finding, in Japanese and English, light and dark", async () => {
  await fillAll();
  const found = [];
  for (const language of ["ja", "en"]) {
    if (await page.getAttribute("html", "lang") !== language) await page.click("#language");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      for (const name of pages) {
        await show(name);
        found.push(...(await findings()).map((finding) => `${name}, ${language}, ${colorScheme}: ${finding}`));
        await page.screenshot({ path: join(shots, `${name}-${language}-${colorScheme}.png`), fullPage: true });
      }
    }
  }
  assert.deepEqual(found, []);
});

test("nothing stands out of a phone, in either language", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "light" });
  for (const language of ["en", "ja"]) {
    if (await page.getAttribute("html", "lang") !== language) await page.click("#language");
    for (const name of pages) {
      await show(name);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${name}, ${language}: ${overflow} pixels stand out`);
      await page.screenshot({ path: join(shots, `${name}-${language}-phone.png`), fullPage: true });
    }
  }
  assert.deepEqual(problems, []);
});
