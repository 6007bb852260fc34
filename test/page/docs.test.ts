/** /docs in a browser: what it sends as it stands is accepted. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBrowser } from "../support/browser.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("try it out on POST /v1/generations gives 202 as it stands", async () => {
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);
  const page = await (await startBrowser(stack)).newPage();
  await page.goto(`${gateway.config.PUBLIC_URL}/docs`);
  const operation = page.locator("#operations-generations-createGeneration");
  await operation.locator(".opblock-summary-control").click();
  await operation.locator(".try-out__btn").click();
  await gateway.offer(CATALOG);
  const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
  await operation.locator(".execute").click();
  const answer = await answered;
  assert.equal(answer.status(), 202, await answer.text());
});
