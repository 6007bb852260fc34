/** Four ways in, as people use ControlNet: a pose, a composition, a similar picture, a scribble. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { Page } from "playwright-core";
import sharp from "sharp";
import { filledIn, generate, openTab, photo } from "../support/browser.ts";
import { browser, latest, url } from "./demo.ts";

const open = async () => {
  const tab = await openTab(browser, url);
  await filledIn(tab.page);
  return tab;
};

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

test("a pose: joints are moved by the pointer and by the keyboard, and as JSON", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.getByRole("button", { name: "Pose" }).first().click();
  const wrist = page.getByRole("button", { name: /^left wrist/ });
  const before = await wrist.getAttribute("aria-label");
  await wrist.focus();
  await page.keyboard.press("ArrowUp");
  assert.notEqual(await wrist.getAttribute("aria-label"), before);
  assert.equal(await page.evaluate("document.activeElement.id"), "joint-0-7");
  const { x, y, width, height } = (await page.locator("#joint-0-4").boundingBox())!;
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x - 80, y - 60, { steps: 4 });
  await page.mouse.up();
  const json = JSON.parse(await page.inputValue("#pose-json"));
  assert.equal(json.people[0].pose_keypoints_2d.length, 54);
  await page.getByRole("button", { name: "Use pose" }).click();
  await page.waitForSelector('#controls img[alt*="a skeleton"]');
  await generate(page);
  assert.equal((await latest()).request.controls[0]!.controlnet, "pose");
});

test("a scribble: drawn by the pointer", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.getByRole("button", { name: "Scribble" }).click();
  const { x, y, width, height } = (await page.locator("#sketch-canvas").boundingBox())!;
  await page.mouse.move(x + 0.3 * width, y + 0.7 * height);
  await page.mouse.down();
  await page.mouse.move(x + 0.7 * width, y + 0.7 * height, { steps: 5 });
  await page.mouse.up();
  await page.getByRole("button", { name: "Use drawing" }).click();
  await page.waitForSelector('#controls img[alt*="a drawing"]');
  const { data, info } = await drawn(page);
  const light = (column: number, row: number) => data[(row * info.width + column) * info.channels]!;
  const rows = [88, 89, 90, 91].map((row) => light(64, row));
  assert.ok(Math.max(...rows) > 200 && light(64, 40) === 0, `a white line on black: ${rows}`);
  await generate(page);
  assert.equal((await latest()).request.controls[0]!.controlnet, "scribble");
});

test("a composition: the place for its picture waits for one, and says so", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.getByRole("button", { name: "Composition" }).click();
  await page.getByRole("button", { name: "Generate" }).click();
  assert.match((await page.locator("#problem").textContent()) ?? "", /"canny" has no picture yet/);
  assert.equal(await page.locator(".annotator-row").isVisible(), true, "a photo can be made a map");
});

test("a similar picture: from one that is dropped, all of it or where it is painted", async () => {
  await using tab = await open();
  const { page } = tab;
  await page.getByRole("button", { name: "Picture", exact: true }).click();
  await page.locator("#start-slot input").setInputFiles({ name: "p.jpg", mimeType: "image/jpeg", buffer: photo });
  await page.waitForSelector('#start-slot img[alt*="p.jpg"]');
  await generate(page);
  const { request } = await latest();
  assert.deepEqual([request.image, request.strength, request.mask_image], [`sha256:${sha256(photo)}`, 0.8, null]);
  await page.getByRole("button", { name: "Paint what to change" }).click();
  await page.locator("#sketch-canvas").waitFor(); // the board opens once the picture under it is decoded
  await page.locator("#sketch-canvas").focus();
  for (const key of ["Space", "ArrowRight", "ArrowDown", "Space"]) await page.keyboard.press(key);
  await page.getByRole("button", { name: "Use drawing" }).click();
  await page.getByText("Only what is painted is made anew.").waitFor();
  await generate(page);
  assert.match((await latest()).request.mask_image ?? "", /^sha256:/);
});

/** The pixels of the control's picture. */
async function drawn(page: Page) {
  const base64 = await page.evaluate(`(async () => {
    const image = document.querySelector("#controls img");
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL().split(",")[1];
  })()`);
  return sharp(Buffer.from(String(base64), "base64"))
    .raw()
    .toBuffer({ resolveWithObject: true });
}
