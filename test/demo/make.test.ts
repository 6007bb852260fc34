/** The way of `npm run demo:train`, with few scenes and steps. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makeDemo } from "../../demo/make.ts";
import { PLAN, type Plan } from "../../demo/plan.ts";
import { openLibrary } from "../../workers/generate/library.ts";

const folder = await mkdtemp(join(tmpdir(), "demo-make-"));
after(() => rm(folder, { recursive: true }));

const few = { max_train_steps: 3, train_batch_size: 1, checkpointing_steps: 2 };
const plan: Plan = {
  scenes: 20,
  evenedBy: 20,
  vae: { ...PLAN.vae, ...few },
  base: { ...PLAN.base, ...few },
  controlnets: PLAN.controlnets
    .filter(([condition]) => condition === "canny")
    .map(([condition, settings]) => [condition, { ...settings, ...few }]),
};

/** @returns what was said */
async function make(where: string, signal: AbortSignal, onLine: (line: string) => void = () => {}): Promise<string[]> {
  const lines: string[] = [];
  const log = (line: string) => {
    lines.push(line);
    onLine(line);
  };
  await makeDemo({ folder: where, log, signal }, plan);
  return lines;
}

/** Every file of trained weights below, with its bytes. */
function weightsIn(models: string): Map<string, Buffer> {
  const names = readdirSync(models, { recursive: true, encoding: "utf8" });
  const weights = names.filter((name) => name.endsWith(".safetensors")).sort();
  return new Map(weights.map((name) => [name, readFileSync(join(models, name))]));
}

/** Stops it after a network's first checkpoint, before its last step. */
async function stopBetweenSteps(where: string, network: string): Promise<void> {
  const controller = new AbortController();
  const timer = setInterval(() => {
    if (existsSync(join(where, "work", network, "state.safetensors"))) {
      controller.abort(new Error("stopped between steps"));
    }
  }, 5);
  const lines: string[] = [];
  const stopped = make(where, controller.signal, (line) => lines.push(line));
  await assert.rejects(stopped, { message: "stopped between steps" }).finally(() => clearInterval(timer));
  assert.equal(lines.at(-1), `${network}: stopped`);
}

test("stopped again and again and started anew, it makes the same models as in one go", async () => {
  const whole = join(folder, "whole");
  const pieces = join(folder, "pieces");
  await make(whole, new AbortController().signal);
  const made = weightsIn(join(whole, "models"));
  assert.deepEqual(
    [...made.keys()],
    [
      "controlnets/canny/diffusion_pytorch_model.safetensors",
      "demo/text_encoder/model.safetensors",
      "demo/unet/diffusion_pytorch_model.safetensors",
      "demo/vae/diffusion_pytorch_model.safetensors",
    ],
  );

  for (const stop of ["pictures: 10/20", "vae: 3 steps", "canny: 3 steps"]) {
    const controller = new AbortController();
    const stopAt = (line: string) => line.startsWith(stop) && controller.abort(new Error(stop));
    await assert.rejects(make(pieces, controller.signal, stopAt), { message: stop });
    if (stop === "vae: 3 steps") {
      await stopBetweenSteps(pieces, "base");
    }
  }
  await make(pieces, new AbortController().signal);
  assert.deepEqual(weightsIn(join(pieces, "models")), made);

  const { catalog } = openLibrary(join(pieces, "models"));
  assert.deepEqual(catalog.skipped, []);
  assert.deepEqual(
    catalog.controlnets.map(({ id, models }) => [id, models]),
    [["canny", ["demo"]]],
  );
  const again = await make(pieces, new AbortController().signal);
  assert.equal(again.length, 1, `what is made is not made again: ${again.join("\n")}`);
});
