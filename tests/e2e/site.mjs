// What the tests in the browser share: the server, the browsers, the folders.
import { spawn } from "node:child_process";
import { once } from "node:events";
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
