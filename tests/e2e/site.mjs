// What the tests in the browser share: the server, the browsers, the folders.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const shots = join(root, "target/e2e");
export const dist = join(root, "web/dist");
export const { ANAUME_BIN: binary, ANAUME_MODEL: model, CHROMIUM = "/usr/bin/chromium" } = process.env;
export const { ANAUME_RESULTS: results, ANAUME_RUN: run } = process.env;

const common = ["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
export const devices = [
  { device: "WebGPU", flags: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] },
  { device: "CPU", flags: ["--disable-features=WebGPU", "--disable-gpu"] },
];

/** `anaume serve` with the built page: its address, the name it gives to the model, and its end. */
export async function serve(...more) {
  const child = spawn(binary, ["serve", "--page", dist, "--port", "0", ...more], { stdio: ["ignore", "pipe", "inherit"] });
  const [origin] = await once(createInterface(child.stdout), "line");
  const index = await (await fetch(`${origin}site.json`)).json();
  return { origin, name: index.models[0]?.name ?? basename(model), stop: () => child.kill("SIGTERM") };
}

/** A browser with a profile of its own. Requests that pass a service worker could not be answered by a test. */
export function open(profile, flags, more = {}) {
  return chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: [...common, ...flags], locale: "ja-JP",
    viewport: { width: 900, height: 900 }, serviceWorkers: "block", ...more });
}

/**
 * A server of what `shown` names, which may put files into a room of their own first, and an empty page that computes on
 * the CPU; `end` takes all of it away.
 */
export async function visit(shown) {
  mkdirSync(shots, { recursive: true });
  const room = mkdtempSync(join(tmpdir(), "anaume-e2e-"));
  const site = await serve(...shown(room));
  const context = await open(join(room, "profile"), devices[1].flags);
  const page = await context.newPage();
  const end = async () => {
    await context.close();
    site.stop();
    rmSync(room, { recursive: true, force: true });
  };
  return { room, site, context, page, problems: problemsOf(page), end };
}

/** Drops a file or folder of the disk onto a place of the page, as a hand does. */
export async function drop(page, path, selector) {
  await page.locator(selector).scrollIntoViewIfNeeded();
  const { x, y } = await page.locator(selector).boundingBox();
  const hand = await page.context().newCDPSession(page);
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await hand.send("Input.dispatchDragEvent", { type, x: x + 5, y: y + 5, data: { items: [], files: [path], dragOperationsMask: 1 } });
  }
}

/** What goes wrong on a page from now on: errors nobody caught, and those that the browser prints. */
export function problemsOf(page) {
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (line) => line.type() === "error" && problems.push(line.text()));
  return problems;
}

/**
 * The longest time in milliseconds that the page stood still while something was done, the least of three times: what
 * other processes of a shared machine add is not the page's.
 */
export async function longestTask(page, act) {
  const longest = [];
  for (let time = 0; time < 3; time++) {
    await page.evaluate(() => {
      window.tasks = [];
      window.observer = new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((entry) => entry.duration)));
      window.observer.observe({ type: "longtask" });
    });
    await act();
    longest.push(await page.evaluate(() => {
      window.observer.disconnect();
      return Math.max(0, ...window.tasks);
    }));
  }
  return Math.min(...longest);
}
