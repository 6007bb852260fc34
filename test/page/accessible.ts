/** What axe-core finds on the page, in light and dark, as wide as a phone, a tablet and a desk: nothing serious. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { filledIn, generate, openTab } from "../support/browser.ts";
import { browser, url } from "./demo.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Fails for each serious thing that axe-core finds in what is shown now, and when the page must be scrolled sideways. */
async function look(page: Page, what: string): Promise<void> {
  const { violations } = (await page.evaluate("axe.run()")) as AxeResults;
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const found = serious.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  );
  assert.deepEqual(found, [], what);
  const wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  assert.equal(wider, 0, `${what} is wider than the window`);
}

/** What only shows when something is done. */
async function lookAround(page: Page): Promise<void> {
  await page.getByText("When and how").click();
  await generate(page);
  await page.getByRole("button", { name: "Compare without control" }).click();
  await page.locator("#frame.comparing").waitFor();
  await look(page, "a comparison");
  for (const [way, dialog] of [
    ["Pose", "#pose-dialog"],
    ["Scribble", "#sketch-dialog"],
  ] as const) {
    await page.getByRole("button", { name: way, exact: true }).first().click();
    await look(page, way);
    await page.locator(dialog).getByRole("button", { name: "Cancel" }).click();
  }
  await page.getByRole("button", { name: "Picture", exact: true }).click();
  await look(page, "a start picture");
}

describe("nothing serious is found", () => {
  for (const [width, colorScheme] of [
    [390, "light"],
    [390, "dark"],
    [820, "light"],
    [1400, "dark"],
  ] as const) {
    test(`at ${width} pixels, ${colorScheme}`, async () => {
      await using tab = await openTab(browser, url, { width, colorScheme });
      const { page } = tab;
      await filledIn(page);
      await page.evaluate(AXE);
      await look(page, "the first sight");
      if (width === 390 && colorScheme === "light") await lookAround(page);
      await page.getByRole("link", { name: "Train" }).click();
      await look(page, "training");
    });
  }
});

test("the keyboard alone makes a picture, and what happens is said", async () => {
  await using tab = await openTab(browser, url);
  const { page } = tab;
  await filledIn(page);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate("document.activeElement.textContent"), "Skip to the prompt");
  await page.keyboard.press("Enter");
  await page.locator("#prompt").focus();
  await page.keyboard.press("Control+Enter");
  await page
    .getByRole("status")
    .getByText(/^Done in/)
    .waitFor();
  assert.match((await page.locator("#picture").getAttribute("alt")) ?? "", /^Picture of: a red house/);
});
