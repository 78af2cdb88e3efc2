// Models on their way into the browser, and the page without its server.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { hubFiles, modelServer, sha256, sharded } from "./model_server.mjs";
import { devices, dist, drop, model, open, problemsOf, shots } from "./site.mjs";

const names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
const plain = Object.fromEntries(names.map((name) => [name, readFileSync(join(model, name))]));
const weights = plain["model.safetensors"];
const below = (folder, files) => Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${folder}/${name}`, bytes]));
const entries = (files, folder = "") => Object.entries(files).map(([name, bytes]) => ({ url: folder + name, size_bytes: bytes.length, sha256: sha256(bytes) }));

let site, other, profile, context, page, problems;
before(async () => {
  const pageFiles = Object.fromEntries(readdirSync(dist).map((name) => [name, readFileSync(join(dist, name))]));
  const index = { format_version: 1, models: [{ name: "m", files: entries(plain, "models/m/") }], results: [], runs: [] };
  site = await modelServer({ "": pageFiles["index.html"], ...pageFiles, "site.json": JSON.stringify(index), ...below("models/m", plain) });
  other = await modelServer({
    ...below("plain", plain),
    ...below("gpt", { ...plain, "config.json": '{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}' }),
    ...below("empty", { "config.json": plain["config.json"] }),
    ...below("exported", { ...plain, "web.json": JSON.stringify({ format_version: 1, name: "exported", files: entries(plain) }) }),
  });
  profile = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
  context = await open(profile, devices[1].flags);
  page = await context.newPage();
  problems = problemsOf(page);
});
after(async () => {
  await context.close();
  site.stop();
  other.stop();
  rmSync(profile, { recursive: true, force: true });
});

const state = (name, wanted, where = page) => where.waitForSelector(`#models li[data-model="${name}"][data-state=${wanted}]`, { timeout: 60_000 });
const arrived = (bytes, where = page) => where.waitForFunction((least) => document.querySelector("#models progress")?.value > least, bytes, { timeout: 60_000 });
const gets = (server, name = "model.safetensors") => server.log.filter((entry) => entry.path.endsWith(name) && entry.method === "GET" && entry.range !== "bytes=0-0");
const startOf = (entry) => Number(/^bytes=(\d+)-$/.exec(entry.range)[1]);
const misbehave = (server, manners) => {
  for (const name of Object.keys(server.manners)) delete server.manners[name];
  Object.assign(server.manners, manners);
  server.log.length = 0;
};

/** The models page with nothing stored and nothing loaded. */
async function nothingStored() {
  misbehave(site, {});
  await page.goto(`${site.origin}/#models`);
  await state("m", "ready");
  await page.click("#delete-all");
  await page.waitForSelector("#delete-all", { state: "detached" });
}

async function lookUp(address, where = page) {
  await where.fill("#address", address);
  await where.click("#look-up");
  await where.waitForSelector("#download, #found-model [role=alert]");
  return where.textContent("#found-model");
}

test("the site's first model loads by itself when it is small, and then from the storage", async () => {
  await page.goto(site.origin);
  await state("m", "ready");
  assert.equal(gets(site)[0].sent, weights.length);
  misbehave(site, {});
  await page.reload();
  await state("m", "ready");
  assert.equal(gets(site).length, 0, "a stored model needs no network");
});

test("a download is cancelled at once and goes on where it stopped, while other models stay", async () => {
  await nothingStored();
  misbehave(site, { slow: 8192 });
  await page.reload();
  await arrived(150_000);
  assert.match(await page.textContent("#models .amounts"), /MiB\/秒、残り \d+ 秒/);
  await page.setInputFiles("#models input[type=file]", names.map((name) => join(model, name)));
  await state("local-1", "ready");
  const start = Date.now();
  await page.click('#models li[data-model="m"] .cancel');
  await state("m", "cancelled");
  assert.ok(Date.now() - start < 1000, "it takes no second to cancel");
  await state("local-1", "ready");
  const tag = `"${sha256(weights).slice(0, 16)}"`;
  misbehave(site, {});
  await page.click('#models li[data-model="m"] .again');
  await state("m", "ready");
  const [rest, ...more] = gets(site);
  assert.equal(more.length, 0);
  assert.ok(startOf(rest) >= 150_000 - names.length * 30_000 && rest.ifRange === tag, JSON.stringify(rest));
  assert.equal(rest.sent, weights.length - startOf(rest), "no byte comes twice");
});

test("a download goes on after the page was loaded again, and after the connection broke", async () => {
  await nothingStored();
  misbehave(site, { slow: 8192 });
  await page.reload();
  await arrived(150_000);
  misbehave(site, { cut: 600_000 });
  await page.reload();
  await state("m", "ready");
  const [again, last, ...more] = gets(site);
  assert.ok(startOf(again) > 0 && startOf(last) > startOf(again) && more.length === 0);
  assert.ok(again.sent >= startOf(last) - startOf(again) && last.sent === weights.length - startOf(last), "no byte comes twice");
});

test("what is stored is of no use with another version, or with a server that forgot ranges", async () => {
  for (const manners of [{ tag: '"other"' }, { ranges: false }]) {
    await nothingStored();
    misbehave(site, { slow: 8192 });
    await page.reload();
    await arrived(150_000);
    await page.click('#models li[data-model="m"] .cancel');
    await state("m", "cancelled");
    misbehave(site, manners);
    await page.click('#models li[data-model="m"] .again');
    await state("m", "ready");
    assert.deepEqual(gets(site).map((entry) => entry.sent), [weights.length], "the whole comes, once");
  }
});

test("a damaged file is named and deleted, and the others stay", async () => {
  await nothingStored();
  misbehave(site, { corrupt: true });
  await page.reload();
  const failed = await state("m", "failed");
  assert.match(await failed.textContent(), /model\.safetensors.*SHA-256.*消しました/s);
  assert.match(await page.textContent('#stored li[data-model="m"][data-state=part] .load'), /残り 0\.8 MiB/);
  misbehave(site, {});
  await page.click('#models li[data-model="m"] .again');
  await state("m", "ready");
  assert.deepEqual(site.log.map((entry) => entry.path), ["models/m/model.safetensors"]);
});

test("the size of every file is shown before any is downloaded", async () => {
  other.log.length = 0;
  await page.goto(`${site.origin}/#models`);
  await state("m", "ready");
  const shown = await lookUp(`${other.origin}/plain`);
  assert.match(shown, new RegExp(`model\\.safetensors.*${weights.length.toLocaleString("en")} バイト.*合計`, "s"));
  assert.equal(gets(other).length, 0);
  await page.screenshot({ path: join(shots, "models.png"), fullPage: true });
  assert.match(await lookUp(`${other.origin}/exported/web.json`), /exported.*SHA-256.*保存済みのファイルから/s);
  await page.click("#download");
  await state("exported", "ready");
  assert.equal(gets(other).length, 0, "the same content is stored once");
  // The list is read anew from the storage once the model is there.
  await page.waitForSelector("#stored li >> nth=1");
  assert.equal(await page.locator("#stored li").count(), 2);
});

test("a model of the Hub comes by commit from wherever the Hub sends", async () => {
  const hub = await modelServer(hubFiles("owner/name", "c0ffee", plain, `${other.origin}/plain`, "v1"));
  try {
    await page.goto(`${site.origin}/?hub=${hub.origin}#models`);
    await state("m", "ready");
    await page.click("#delete-all");
    await page.waitForSelector("#stored li", { state: "detached" });
    misbehave(other, { slow: 8192 });
    assert.match(await lookUp("owner/name@v1"), /owner\/name.*SHA-256/s);
    await page.click("#download");
    await page.waitForFunction(() => document.querySelector('#models li[data-model="owner/name"] progress')?.value > 150_000);
    await page.click('#models li[data-model="owner/name"] .cancel');
    await state("owner/name", "cancelled");
    misbehave(other, {});
    await page.click('#models li[data-model="owner/name"] .again');
    await state("owner/name", "ready");
    const [rest, ...more] = gets(other);
    assert.ok(startOf(rest) > 0 && rest.sent === weights.length - startOf(rest) && more.length === 0);
    assert.ok(hub.log.some((entry) => entry.path === "owner/name/resolve/c0ffee/model.safetensors"));
    hub.manners.status = 401;
    assert.match(await lookUp("owner/secret"), /401.*非公開/s);
  } finally {
    hub.stop();
  }
});

test("what cannot be had is refused in words", async () => {
  await page.goto(`${site.origin}/#models`);
  await page.waitForSelector("#stored li");
  assert.match(await lookUp("http://example.org/model"), /アドレスを確かめて/);
  assert.match(await lookUp(`${other.origin}/nowhere/`), /config\.json.*モデルのフォルダーではない/s);
  assert.match(await lookUp(`${other.origin}/empty/`), /tokenizer\.json.*モデルのフォルダーではない/s);
  assert.match(await lookUp(`${other.origin}/gpt/`), /gpt2.*ModernBERT か BERT/s);
  other.manners.cors = false;
  assert.match(await lookUp(`${other.origin}/plain/`), /CORS/);
  delete other.manners.cors;
  await context.setOffline(true);
  assert.match(await lookUp(`${other.origin}/plain/`), /ネットワークにつながっていません/);
  await context.setOffline(false);
  await page.click("#language");
  assert.match(await lookUp(`${other.origin}/gpt/`), /cannot be computed here/);
  await page.click("#language");
});

test("a folder of the reader's machine opens under its name, chosen or dropped", async () => {
  const name = basename(model);
  await page.setInputFiles("#drop-model input", model);
  await state(name, "ready");
  await drop(page, resolve(model), "#drop-model");
  await state(`${name}-2`, "ready");
});

test("a stored model is deleted, alone or with all", async () => {
  await lookUp(`${other.origin}/plain/`);
  await page.click("#download");
  await state("plain", "ready");
  await page.click('#stored li[data-model="plain"] .delete');
  await page.waitForSelector('#stored li[data-model="plain"]', { state: "detached" });
  assert.ok(await page.locator("#stored li").count() > 0, "the others stay");
  await page.click("#delete-all");
  await page.waitForSelector("#stored li", { state: "detached" });
  assert.match(await page.textContent("#room"), /合計 0\.0 MiB/);
  const left = await page.evaluate(async () => {
    const found = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) found.push(name);
    const home = await (await navigator.storage.getDirectory()).getDirectoryHandle("anaume");
    for await (const name of (await home.getDirectoryHandle("files")).keys()) found.push(name);
    return found;
  });
  assert.deepEqual(left, ["anaume"]);
});

/** A page whose worker meets another browser than this one. */
async function pageWhere(change) {
  const script = readFileSync(join(dist, "start.js"), "utf8");
  await context.route("**/start.js*", (route) => route.fulfill({ body: `${change};${script}`, contentType: "text/javascript" }));
  await page.goto(`${site.origin}/#models`);
  await page.reload();
}

test("a full disk and a browser that stores nothing are told in words", async () => {
  misbehave(site, {});
  await pageWhere("navigator.storage.estimate = async () => ({ quota: 1000000, usage: 500000 })");
  assert.match(await (await state("m", "failed")).textContent(), /あと 0\.8 MiB 要りますが、空きは 0\.5 MiB/);
  assert.equal(gets(site).length, 0, "nothing is downloaded for nothing");
  await context.unroute("**/start.js*");
  const full = 'throw new DOMException("full", "QuotaExceededError")';
  await pageWhere(`let written = 0; if (globalThis.FileSystemSyncAccessHandle) FileSystemSyncAccessHandle.prototype.write =
    (bytes) => { if ((written += bytes.length) > 100000) ${full}; return bytes.length; }`);
  assert.match(await (await state("m", "failed")).textContent(), /保存する場所が足りません/);
  await context.unroute("**/start.js*");
  await pageWhere("navigator.storage.getDirectory = () => Promise.reject(new DOMException('no', 'SecurityError'))");
  await state("m", "ready");
  await page.waitForSelector("#not-stored");
  await context.unroute("**/start.js*");
});

test("two tabs that want the same model get it once", async () => {
  await page.goto(`${site.origin}/#models`);
  await page.reload();
  await nothingStored();
  misbehave(site, { slow: 8192 });
  await page.reload();
  await arrived(100_000);
  const second = await context.newPage();
  await second.goto(`${site.origin}/#models`);
  const waiting = await state("m", "fetching", second);
  await second.waitForFunction((line) => line.textContent.includes("別のタブ"), waiting);
  await second.click("#delete-all");
  await second.waitForSelector("#stored [role=alert]");
  await Promise.all([state("m", "ready"), state("m", "ready", second)]);
  assert.deepEqual(gets(site).map((entry) => entry.sent), [weights.length]);
  await second.close();
});

test("a model in shards loads and answers", async () => {
  const { "model.safetensors": _, ...rest } = plain;
  Object.assign(other.files, below("shards", { ...rest, ...sharded(weights, 3) }));
  await page.goto(`${site.origin}/#models`);
  await page.reload();
  assert.match(await lookUp(`${other.origin}/shards`), /model-00003-of-00003\.safetensors/);
  await page.click("#download");
  await state("shards", "ready");
});

test("the page is readable in English, in the dark and at a phone's width", async () => {
  await page.emulateMedia({ colorScheme: "dark" });
  await lookUp(`${other.origin}/plain/`);
  await page.screenshot({ path: join(shots, "models-dark.png"), fullPage: true });
  await page.click("#language");
  await page.setViewportSize({ width: 360, height: 800 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${overflow} pixels stand out`);
  await page.screenshot({ path: join(shots, "models-phone.png"), fullPage: true });
  // The browser prints every answer that is no success; nothing else is wrong.
  assert.deepEqual(problems.filter((problem) => !/Failed to load resource|blocked by CORS policy/.test(problem)), []);
});

test("the page and its stored models work without the server, and a newer page is announced", async () => {
  const room = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
  const kept = await open(room, devices[1].flags, { serviceWorkers: "allow" });
  try {
    misbehave(site, {});
    const here = await kept.newPage();
    await here.goto(site.origin);
    await state("m", "ready", here);
    await here.evaluate(() => navigator.serviceWorker.ready);
    site.files["sw.js"] = Buffer.from(String(site.files["sw.js"]).replace('"anaume-', '"anaume-newer-'));
    await here.reload();
    await here.waitForSelector("#update:not([hidden])", { timeout: 60_000 });
    await Promise.all([here.waitForEvent("load"), here.click("#update button")]);
    await state("m", "ready", here);
    assert.match(String(await here.evaluate(() => caches.keys())), /^anaume-newer-[^,]*$/, "the earlier build is gone");
    site.stop();
    await here.reload();
    await state("m", "ready", here);
    await here.fill("#text", "朝ご飯に[MASK]を食べる。");
    await here.click("#fill");
    await here.waitForSelector("#answer article table");
  } finally {
    await kept.close();
    rmSync(room, { recursive: true, force: true });
  }
});
