/** A service that asks for a key: the page is open, asks for it, and forgets it with the tab. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { filledIn, generate, openTab, startDemo } from "../support/browser.ts";
import { browser, stack } from "./demo.ts";

const KEY = "a-key-of-32-characters-for-a-page";
describe("a service that asks for a key", () => {
  let url: string;
  before(async () => {
    const service = await startDemo(stack, { API_KEYS: `ann:${KEY}` });
    url = `${service.config.PUBLIC_URL}/`;
  });

  test("the page's files need no key and allow no foreign or inline script; all else needs one", async () => {
    for (const path of ["", "playground", "page/app.js", "page/style.css"]) {
      const answer = await fetch(url + path);
      assert.equal(answer.status, 200, path);
      const policy = answer.headers.get("content-security-policy") ?? "";
      assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
      assert.doesNotMatch(policy, /unsafe|https:|\*/);
      const etag = answer.headers.get("etag")!;
      assert.equal((await fetch(url + path, { headers: { "If-None-Match": etag } })).status, 304);
    }
    for (const path of ["page/nothing.js", "page/..%2fapp.ts", "page/tsconfig.json"]) {
      assert.equal((await fetch(url + path)).status, 404, path);
    }
    assert.equal((await fetch(`${url}v1/models`)).status, 401);
  });

  test("a wrong key is refused, the right one makes pictures, and is kept in the tab alone", async () => {
    await using tab = await openTab(browser, url);
    const { page } = tab;
    const dialog = page.getByRole("dialog", { name: "API key" });
    const give = async (key: string) => {
      await dialog.getByLabel("Key", { exact: true }).fill(key);
      await page.keyboard.press("Enter");
    };
    await dialog.waitFor();
    await give("a-key-that-nobody-has");
    await dialog.getByText("The service does not know this key").waitFor();
    await give(KEY);
    await filledIn(page);
    await generate(page);
    await page.reload();
    await filledIn(page); // not asked again
    assert.match((await page.locator("#code").textContent()) ?? "", /-H "Authorization: Bearer \$API_KEY"/);
    const kept = await page.evaluate(`JSON.stringify([localStorage.length, document.cookie, sessionStorage.length])`);
    assert.equal(kept, '[0,"",1]');
    await page.getByRole("button", { name: "Forget key" }).click();
    await dialog.waitFor();
  });

  test("who gives no key is told what that means", async () => {
    await using tab = await openTab(browser, url);
    await tab.page.getByRole("dialog", { name: "API key" }).waitFor(); // pressed before that, Escape is nobody's
    await tab.page.keyboard.press("Escape");
    await tab.page.getByRole("alert").getByText("asks for an API key").waitFor();
  });
});
