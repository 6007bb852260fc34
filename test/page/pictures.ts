/** `npm run page:pictures`: draws docs/page.webp, the page as the README shows it: a picture beside the one without control. */
import { join } from "node:path";
import sharp from "sharp";
import { filledIn, generate, openTab, startBrowser, startDemo } from "../support/browser.ts";

const FILE = join(import.meta.dirname, "../../docs/page.webp");

await using stack = new AsyncDisposableStack();
const service = await startDemo(stack);
const browser = await startBrowser(stack);
const url = `${service.config.PUBLIC_URL}/`;

/** The page when two pictures have been made and the second is compared. */
async function shot(colorScheme: "light" | "dark", width: number, height: number): Promise<Buffer> {
  await using tab = await openTab(browser, url, { width, height, colorScheme });
  const { page } = tab;
  await filledIn(page);
  for (const prompt of [
    "a yellow house with a red roof, the moon, on snow, at night",
    await page.inputValue("#prompt"),
  ]) {
    await page.fill("#prompt", prompt);
    await generate(page);
  }
  await page.getByRole("button", { name: "Compare without control" }).click();
  await page.locator("#frame.comparing").waitFor();
  return await page.screenshot(); // before the tab is closed
}

const GAP = 24;
const desk = await shot("light", 1280, 900);
const phone = await shot("dark", 390, 900);
const size = { width: 1280 + GAP + 390, height: 900, channels: 4 as const, background: "#0000" };
await sharp({ create: size })
  .composite([
    { input: desk, left: 0, top: 0 },
    { input: phone, left: 1280 + GAP, top: 0 },
  ])
  .webp({ quality: 82 })
  .toFile(FILE);
console.log(`wrote ${FILE}`);
