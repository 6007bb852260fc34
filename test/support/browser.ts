/** A real browser on the page of a real service: Chromium, as it is installed, headless. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import { startGateway } from "./gateway.ts";
import { until } from "./processes.ts";

/** A loaded machine may take long for a picture of the demo; a page that does nothing is told sooner by what it shows. */
const PATIENCE_MS = 60_000;

/** A picture as people have it, to be dropped on the page: a JPEG of another size than the demo's. */
export const photo = await sharp({ create: { width: 160, height: 120, channels: 3, background: "#4a90d9" } })
  .composite([
    { input: Buffer.from('<svg width="160" height="120"><path fill="#a33" d="M40 100V50l40-30 40 30v50z"/></svg>') },
  ])
  .jpeg()
  .toBuffer();

export async function startBrowser(stack: AsyncDisposableStack) {
  const browser = await chromium.launch({ executablePath: installed(), args: ["--no-sandbox"] });
  stack.defer(() => browser.close());
  return browser;
}

function installed(): string {
  for (const name of ["chromium", "google-chrome"]) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {}
  }
  throw new Error("no browser: apt-get install chromium, or brew install --cask chromium");
}

/** The service with the demo, and a worker that makes its pictures. */
export async function startDemo(stack: AsyncDisposableStack, env: Record<string, string> = {}) {
  const gateway = await startGateway(stack, { MODELS_DIR: DEMO_MODELS_DIR, ...env });
  await gateway.work();
  await until("ready", async () => (await fetch(`${gateway.config.PUBLIC_URL}/ready`)).ok);
  return gateway;
}

export interface Look {
  width?: number;
  height?: number;
  colorScheme?: "light" | "dark";
}

/** Tabs that nobody uses now: what draws a new one takes seconds to start. */
const idle = new WeakMap<object, Page[]>();

/** A tab that holds nothing of others. What the page's console complains of fails the test that closes it. */
export async function openTab(
  browser: Awaited<ReturnType<typeof startBrowser>>,
  url: string,
  { width = 1400, height = 900, colorScheme = "light" }: Look = {},
) {
  const tabs = idle.get(browser) ?? [];
  idle.set(browser, tabs);
  const page = tabs.pop() ?? (await (await browser.newContext()).newPage());
  page.setDefaultTimeout(PATIENCE_MS);
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme });
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    const expected = / 40[19] |status of 4/.test(message.text()); // an answer that the page itself shows
    if (message.type() === "error" && !expected) complaints.push(message.text());
  });
  await page.goto(url);
  return {
    page,
    async [Symbol.asyncDispose]() {
      if (page.url().startsWith("http")) await page.evaluate("sessionStorage.clear()");
      await page.goto("about:blank"); // what the page still asks for ends here
      page.removeAllListeners("pageerror").removeAllListeners("console");
      tabs.push(page);
      assert.deepEqual(complaints, []);
    },
  };
}

/** Waits until the page has filled itself in. */
export const filledIn = (page: Page) => page.waitForSelector("html[data-ready]");

/** Presses Generate, waits for the picture and returns the caption. */
export async function generate(page: Page): Promise<string> {
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await page.locator("#generate:enabled").waitFor();
  assert.equal(await page.locator("#problem").textContent(), "");
  return (await page.locator("#caption").textContent()) ?? "";
}
