// Whoever starts the server and opens the page has a model without asking for one, with WebGPU and without; so has a static
// site. Whoever looks at results alone loads none.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { modelServer } from "./model_server.mjs";
import { binary, devices, dist, open, problemsOf, results, serve } from "./site.mjs";

const name = "anaume-ja-mini";
let room, site;
before(async () => {
  room = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
  site = await serve(results);
});
after(() => {
  site.stop();
  rmSync(room, { recursive: true, force: true });
});

/** Opens a page with a profile of its own, does something there, and sees that nothing went wrong. */
async function visiting(address, flags, act) {
  const context = await open(mkdtempSync(join(room, "profile-")), flags);
  const page = await context.newPage();
  const problems = problemsOf(page);
  await page.goto(address);
  await act(page);
  assert.deepEqual(problems, []);
  await context.close();
}

const ready = (page, device) => page.waitForSelector(`#models li[data-model="${name}"][data-state=ready][data-device="${device}"]`, { timeout: 120_000 });

async function fill(page) {
  await page.fill("#text", "日本の首都は[MASK]です。");
  await page.click("#fill");
  await page.waitForSelector("#answer article tr[data-token]", { timeout: 120_000 });
  return page.$$eval("#answer article tr", (rows) => rows.map((row) => [row.dataset.token, Number(row.dataset.probability)]));
}

test("the server's page answers at once, the same on every device", async () => {
  const answers = [];
  for (const { device, flags } of devices) {
    await visiting(site.origin, flags, async (page) => {
      await ready(page, device);
      answers.push(await fill(page));
    });
  }
  const [webgpu, cpu] = answers;
  assert.deepEqual(webgpu.map(([token]) => token), cpu.map(([token]) => token));
  webgpu.forEach(([, probability], rank) => assert.ok(Math.abs(probability - cpu[rank][1]) <= 1e-3, `rank ${rank}`));
});

test("a static site has the model too", async () => {
  const out = join(room, "site");
  execFileSync(binary, ["site", "--page", dist, "--out", out]);
  const paths = readdirSync(out, { recursive: true }).filter((path) => statSync(join(out, path)).isFile());
  const files = Object.fromEntries(paths.map((path) => [path, readFileSync(join(out, path))]));
  const server = await modelServer({ ...files, "": files["index.html"] });
  await visiting(server.origin, devices[1].flags, async (page) => {
    await ready(page, "CPU");
    assert.equal((await fill(page)).length, 5);
  });
  server.stop();
});

test("who looks at results loads the model when another page is opened", async () => {
  await visiting(`${site.origin}#results`, devices[1].flags, async (page) => {
    await page.waitForSelector("#results .board", { timeout: 60_000 });
    assert.equal(await page.locator("#models li[data-state]").count(), 0);
    await page.click("nav a[href='#fill-mask']");
    await ready(page, "CPU");
  });
});
