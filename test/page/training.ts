/** A set is uploaded on the page, and the training that it makes is watched there to its end. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { create } from "tar";
import { startTrainer } from "../../workers/train/worker.ts";
import { filledIn, openTab } from "../support/browser.ts";
import { writeCircles } from "../support/circles.ts";
import { log, startGateway } from "../support/gateway.ts";
import { temporaryFolder, until } from "../support/processes.ts";
import { writeTinyBase } from "../support/tiny-base.ts";
import { browser, stack } from "./demo.ts";

test("a set is uploaded, its loss and its validation pictures are watched, and the ControlNet is offered", async () => {
  const MODELS_DIR = await temporaryFolder(stack);
  writeTinyBase(join(MODELS_DIR, "base"));
  const datasets = await temporaryFolder(stack);
  await writeCircles(join(datasets, "circles"), 4, 64);
  const archive = join(datasets, "circles.tar.gz");
  await create({ cwd: join(datasets, "circles"), file: archive, gzip: true }, ["."]);

  const gateway = await startGateway(stack, { MODELS_DIR });
  await gateway.work();
  const trainer = await startTrainer(gateway.config, log);
  stack.defer(async () => {
    await trainer.close();
  });
  await until("ready", async () => (await fetch(`${gateway.config.PUBLIC_URL}/ready`)).ok);
  await using tab = await openTab(browser, `${gateway.config.PUBLIC_URL}/#train`);
  const { page } = tab;
  await filledIn(page);
  await page.getByRole("button", { name: "Start training" }).click();
  await page.getByRole("alert").getByText("Choose a set of pictures first.").waitFor();
  await page.getByLabel("Set of pictures").setInputFiles(archive);
  for (const [label, value] of [
    ["Name", "circles"],
    ["Steps", "4"],
    ["Save every", "2"],
    ["Batch", "2"],
    ["Resolution", "64"],
  ] as const) {
    await page.locator("#training").getByLabel(label, { exact: true }).fill(value);
  }
  await page.locator("#validation-slot input").setInputFiles(join(datasets, "circles/source/0.png"));
  await page.locator("#validation-prompt").fill("a circle");
  await page.getByRole("button", { name: "Start training" }).click();
  await page.locator("#training-said", { hasText: 'Done: "circles" is offered.' }).waitFor({ timeout: 240_000 });
  const points = await page.locator("#loss polyline").getAttribute("points");
  assert.equal(points?.trim().split(" ").length, 4, "a point of the curve for each step");
  await page.locator("#validation-pictures li").nth(1).waitFor();
  assert.deepEqual(await page.locator("#validation-pictures img").evaluateAll((all) => all.length), 2);
  await page.getByText("succeeded, step 4 of 4").waitFor();
});
