/** The page where pictures are made, in a real browser, by mouse and by keyboard. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import sharp from "sharp";
import type { Generation } from "../../src/schema/generation.ts";
import { filledIn, generate, openTab, photo } from "../support/browser.ts";
import { temporaryFolder, until } from "../support/processes.ts";
import { browser, latest, service, stack, url } from "./demo.ts";

const FIRST_REQUEST = JSON.parse(readFileSync(join(import.meta.dirname, "../../demo/first-request.json"), "utf8"));
const open = async (path = "") => {
  const tab = await openTab(browser, url + path);
  await filledIn(tab.page);
  return tab;
};

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const isShown = (page: Page) => page.evaluate(`document.getElementById("picture").naturalWidth`);

test("one click on what is there makes the demo's picture", async (t) => {
  await using tab = await open();
  const { page } = tab;
  const clicked = performance.now();
  assert.match(await generate(page), /^Seed 7 · 128 × 128 · /);
  const first = performance.now() - clicked;
  assert.equal(await isShown(page), 128);
  const made = (await service.http.post("/v1/generations").set("Prefer", "wait=60").send(FIRST_REQUEST)).body;
  const [shown] = (await service.http.get("/v1/generations?limit=2")).body.data.slice(1) as Generation[];
  assert.equal(shown!.images[0]!.sha256, made.images[0].sha256);
  const again = performance.now();
  await generate(page);
  const second = performance.now() - again;
  t.diagnostic(
    `from the click to the picture: ${first.toFixed(0)} ms, loading the model; then ${second.toFixed(0)} ms`,
  );
});

test("while it is made, previews and steps are shown", async () => {
  await using tab = await open("playground");
  const { page } = tab;
  await page.evaluate(`{
    window.seen = new Set();
    const look = () => window.seen.add(document.getElementById("picture").src.slice(0, 15) + document.getElementById("caption").textContent);
    new MutationObserver(look).observe(document.getElementById("frame"), { attributes: true, subtree: true });
  }`);
  await page.fill("#steps", "150"); // it is left as soon as two are seen
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  const previews = "[...window.seen].filter((one) => /^data:image.jpeg.*Step [0-9]+ of 150$/.test(one))";
  await until("two previews", () => page.evaluate(`${previews}.length > 1`));
  await page.keyboard.press("Escape");
  await page.locator("#caption", { hasText: "Canceled." }).waitFor();
});

test("another is canceled by its button, and a third by Escape", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.fill("#steps", "150");
  for (const stop of [
    () => page.getByRole("button", { name: "Cancel" }).first().click(),
    () => page.keyboard.press("Escape"),
  ]) {
    await page.getByRole("button", { name: "Generate" }).click();
    await page.locator("#caption", { hasText: "Step" }).waitFor();
    await stop();
    await page.locator("#caption", { hasText: "Canceled." }).waitFor();
    assert.equal((await latest()).status, "canceled");
  }
});

test("a picture that is dropped is the control's", async () => {
  await using tab = await open();
  const { page } = tab;
  const transfer = await page.evaluateHandle(`{
    const bytes = Uint8Array.from(atob("${photo.toString("base64")}"), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "house.jpg", { type: "image/jpeg" }));
    transfer;
  }`);
  await page.dispatchEvent("#controls .drop", "drop", { dataTransfer: transfer });
  await page.waitForSelector('#controls img[alt*="house.jpg"]');
  await generate(page);
  assert.equal((await latest()).request.controls[0]!.image, `sha256:${sha256(photo)}`);
});

test("a control's sliders and a second control are in the request", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.locator(".scale").focus();
  for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowLeft");
  await page.getByText("When and how").click();
  await page.locator("input.end").focus();
  for (let i = 0; i < 6; i++) await page.keyboard.press("ArrowLeft");
  await page.getByLabel("More important").selectOption("prompt");
  await page.getByRole("button", { name: "Add a control" }).click();
  await page.locator("#controls .net").nth(1).selectOption("depth");
  await page
    .locator("#controls input[type=file]")
    .nth(1)
    .setInputFiles({ name: "d.jpg", mimeType: "image/jpeg", buffer: photo });
  await page.waitForSelector('#controls img[alt*="d.jpg"]');
  await generate(page);
  const [canny, depth] = (await latest()).request.controls;
  assert.deepEqual(
    [canny!.conditioning_scale, canny!.control_guidance_end, canny!.control_mode, depth!.controlnet],
    [0.8, 0.7, "prompt", "depth"],
  );
});

test("a picture is compared with the one without control, by the same seed", async () => {
  await using tab = await open();
  const { page } = tab;
  await generate(page);
  const made = await latest();
  await page.getByRole("button", { name: "Compare without control" }).click();
  await page.waitForSelector("#frame.comparing");
  const without = await latest();
  assert.deepEqual([without.request.controls, without.request.seed], [[], made.request.seed]);
  assert.equal(await page.evaluate("document.activeElement.id"), "wipe");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(`document.getElementById("frame").style.getPropertyValue("--wipe")`), "51%");
});

test("the last pictures are there after a reload, and one can be gone back to", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.fill("#prompt", "a pine, on snow, at night");
  await page.fill("#seed", "");
  await generate(page);
  const { request } = await latest();
  await page.reload();
  await filledIn(page);
  await page.getByRole("button", { name: `a pine, on snow, at night, seed ${request.seed}` }).click();
  await page.getByRole("button", { name: "Use its settings" }).click();
  assert.equal(await page.inputValue("#prompt"), "a pine, on snow, at night");
  assert.equal(await page.inputValue("#seed"), String(request.seed));
});

test("where annotators are offered, a photo's map is shown and sent", async () => {
  const map = await sharp({ create: { width: 160, height: 120, channels: 3, background: "#fff" } })
    .png()
    .toBuffer();
  await using tab = await openTab(browser, "about:blank");
  const { page } = tab;
  await page.route("**/openapi.json", async (route) => {
    const answer = await route.fetch();
    const document = await answer.json();
    await route.fulfill({
      response: answer,
      json: { ...document, paths: { ...document.paths, "/v1/annotators": {} } },
    });
  });
  await page.route("**/v1/annotators", (route) => route.fulfill({ json: { data: [{ id: "canny" }, { id: "blur" }] } }));
  let asked: unknown;
  await page.route("**/v1/annotations", (route) => {
    asked = route.request().postDataJSON().annotator;
    return route.fulfill({ body: map, contentType: "image/png" });
  });
  await page.goto(url);
  await filledIn(page);
  await page
    .locator("#controls input[type=file]")
    .setInputFiles({ name: "p.jpg", mimeType: "image/jpeg", buffer: photo });
  await page.waitForSelector('#controls img[alt*="a canny map"]');
  assert.equal(asked, "canny");
  await generate(page);
  assert.equal((await latest()).request.controls[0]!.image, `sha256:${sha256(map)}`);
});

test("the same request as curl, TypeScript and Python gives the same picture", async (t) => {
  await using tab = await open();
  const { page } = tab;
  await generate(page);
  const { sha256: expected } = (await latest()).images[0]!;
  for (const [language, run] of [
    ["curl", ["sh", "request"]],
    ["TypeScript", [process.execPath, "request.ts"]],
    ["Python", ["python3", "request"]],
  ] as const) {
    await page.getByRole("button", { name: language }).click();
    const cwd = await temporaryFolder(stack);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "control-1.png" }).click(),
    ]);
    await download.saveAs(join(cwd, "control-1.png"));
    writeFileSync(join(cwd, run[1]), (await page.locator("#code").textContent()) ?? "");
    try {
      await promisify(execFile)(run[0], [run[1]], { cwd, env: { PATH: process.env.PATH, NODE_NO_WARNINGS: "1" } });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      t.diagnostic(`there is no ${run[0]} here`);
      continue;
    }
    assert.equal(sha256(readFileSync(join(cwd, "picture-0.png"))), expected, language);
  }
});

test("what the service refuses is said, and its field marked", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.fill("#width", "100");
  await page.getByRole("button", { name: "Generate" }).click();
  await page.getByRole("alert").getByText("must be a multiple of 8").waitFor();
  assert.equal(await page.getAttribute("#width", "aria-invalid"), "true");
});
