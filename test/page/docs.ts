/** /docs in a browser: what it sends as it stands is accepted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openTab } from "../support/browser.ts";
import { browser, url } from "./demo.ts";

test("try it out on POST /v1/generations gives 202 as it stands", async () => {
  await using tab = await openTab(browser, `${url}docs`);
  const { page } = tab;
  const operation = page.locator("#operations-generations-createGeneration");
  await operation.locator(".opblock-summary-control").click();
  await operation.locator(".try-out__btn").click();
  const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
  await operation.locator(".execute").click();
  const answer = await answered;
  assert.equal(answer.status(), 202, await answer.text());
});
