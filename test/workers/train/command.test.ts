import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { noFeatures } from "../../../src/diffusion/adapters/t2i-adapters.ts";
import { noResiduals } from "../../../src/diffusion/control.ts";
import { NoiseGenerator } from "../../../src/diffusion/noise.ts";
import { fill } from "../../../src/diffusion/rows.ts";
import { openBase, openControlNet } from "../../../src/models/base.ts";
import { findCheckpoint } from "../../../src/models/checkpoint.ts";
import { controlnetConfig, parseConfig } from "../../../src/models/config.ts";
import type { Tensor } from "../../../src/onnx/tensor.ts";
import { TrainingSettings } from "../../../src/schema/training-request.ts";
import { controlnetFrom } from "../../../src/training/initialize.ts";
import { readParameters } from "../../../src/training/stored.ts";
import { CPU, openSession } from "../../../workers/runtime/runtime.ts";
import { writeComponent } from "../../../workers/train/components.ts";
import { configFor } from "../../../workers/train/controlnet.ts";
import { type Listeners, train } from "../../../workers/train/run.ts";
import { writeCircles } from "../../support/circles.ts";
import { UNET, writeTinyBase } from "../../support/tiny-base.ts";

const PROGRAM = join(import.meta.dirname, "../../../workers/train/command.ts");
const SETTINGS = TrainingSettings.parse({
  max_train_steps: 5,
  learning_rate: 1e-3,
  train_batch_size: 2,
  resolution: 64,
  checkpointing_steps: 2,
  random_flip: true,
});

let root: string;
let BASE: string;
before(async () => {
  root = mkdtempSync(join(tmpdir(), "train-"));
  await writeCircles(join(root, "circles"), 6, 64);
  BASE = join(root, "base");
  writeTinyBase(BASE);
});
after(() => rmSync(root, { recursive: true }));

const folders = (name: string, dataset = "circles") => ({
  base: BASE,
  dataset: join(root, dataset),
  output: join(root, name, "controlnets", name),
  work: join(root, name, "work"),
  validation: null,
});
const silent = (): Listeners => ({ onPreparing: () => {}, onStep: () => {}, signal: new AbortController().signal });
const losses = (work: string) => readFileSync(join(work, "loss.csv"), "utf8");

/** The residuals of a ControlNet's folder, and what the locked U-Net makes of them and of none. */
async function predictions(folder: string): Promise<{ controlled: Tensor; plain: Tensor }> {
  const base = openBase(BASE);
  const { config, networks } = openControlNet(folder);
  const run = async (network: { graph: () => Parameters<typeof openSession>[0] }, feeds: Record<string, Tensor>) => {
    const session = await openSession(network.graph(), CPU);
    const outputs = await session.run(feeds);
    await session.release();
    return outputs;
  };
  const none = noResiduals(base.unet);
  const features = noFeatures(base.unet);
  const conditions = {
    sample: fill([1, 4, 8, 8], 0.5),
    timestep: fill([1], 500),
    encoder_hidden_states: fill([1, 77, config.cross_attention_dim], 0.1),
  };
  const hint = (await run(networks.hint, { hint: fill([1, 3, 64, 64], 0.7) })).hint_embedding!;
  const rows = { dims: [1], data: BigInt64Array.of(0n) };
  const scales = fill([1, Object.keys(none).length], 1);
  const masks = Object.fromEntries(
    config.block_out_channels.map((_, level) => [`mask_${level}`, fill([1, 1, 1, 1], 1)]),
  );
  const feeds = { ...conditions, ...none, ...masks, hint_embedding: hint, rows, scales };
  const summed = await run(networks.controlnet, feeds);
  const residuals = Object.fromEntries(Object.keys(none).map((name) => [name, summed[`${name}_out`]!]));
  return {
    controlled: (await run(base.networks.unet, { ...conditions, ...residuals, ...features })).out!,
    plain: (await run(base.networks.unet, { ...conditions, ...none, ...features })).out!,
  };
}

test("an untrained ControlNet leaves the base's output as it is, bit for bit; one step later it does not", async () => {
  const raw = configFor(UNET);
  const config = parseConfig(controlnetConfig, raw, "config.json");
  const unet = readParameters(findCheckpoint(join(BASE, "unet"), "diffusion_pytorch_model"));
  const untrained = controlnetFrom(unet, config, 3);
  const folder = join(root, "untrained");
  writeComponent(folder, "diffusion_pytorch_model", raw, untrained.tensors, "F32");
  const before = await predictions(folder);
  assert.deepEqual(before.controlled.data, before.plain.data);

  const one = folders("one");
  const validation = join(root, "validation.json");
  writeFileSync(validation, JSON.stringify([{ prompt: "red circle", image: "circles/source/0.png" }]));
  assert.ok(await train("controlnet", { ...one, validation }, { ...SETTINGS, max_train_steps: 1 }, silent()));
  assert.deepEqual(readdirSync(join(one.work, "validation")), ["1-0.png"]);
  const after = await predictions(one.output);
  assert.notDeepEqual(after.controlled.data, after.plain.data);
});

test("a base whose own scheduler is none of the service's is trained for; its pictures are made with another", async () => {
  const base = join(root, "sde");
  cpSync(BASE, base, { recursive: true });
  const config = join(base, "scheduler", "scheduler_config.json");
  const own = { ...JSON.parse(readFileSync(config, "utf8")), _class_name: "DPMSolverSDEScheduler" };
  writeFileSync(config, JSON.stringify(own));
  const validation = join(root, "sde.json");
  writeFileSync(validation, JSON.stringify([{ prompt: "red circle", image: "circles/source/0.png" }]));
  const one = { ...folders("sde-circles"), base, validation };
  assert.ok(await train("controlnet", one, { ...SETTINGS, max_train_steps: 1 }, silent()));
  assert.deepEqual(readdirSync(join(one.work, "validation")), ["1-0.png"]);
});

test("an output that is a ControlNet already is trained on from its weights", async () => {
  const once = folders("twice");
  const weights = () => readParameters(findCheckpoint(once.output, "diffusion_pytorch_model")).data;
  assert.ok(await train("controlnet", once, { ...SETTINGS, max_train_steps: 2 }, silent()));
  const before = weights();
  const again = { ...once, work: join(root, "twice", "again") };
  const small = { ...SETTINGS, max_train_steps: 1, learning_rate: 1e-6 };
  assert.ok(await train("controlnet", again, small, silent()));
  const moved = weights().reduce((most, value, i) => Math.max(most, Math.abs(value - before[i]!)), 0);
  assert.ok(moved > 0 && moved < 1e-5, `moved by ${moved}`);
});

test("a fresh hint encoder passes a hint on at its size, so that the first steps already learn from it", async () => {
  const raw = configFor(UNET);
  const unet = readParameters(findCheckpoint(join(BASE, "unet"), "diffusion_pytorch_model"));
  const config = parseConfig(controlnetConfig, raw, "config.json");
  const { tensors } = controlnetFrom(unet, config, 3, "gaussian"); // out of a zero convolution nothing would come
  const fresh = join(root, "fresh");
  writeComponent(fresh, "diffusion_pytorch_model", raw, tensors, "F32");
  const session = await openSession(openControlNet(fresh).networks.hint.graph(), CPU);
  const embed = async (seed: number) => {
    const hint = { dims: [1, 3, 64, 64], data: new NoiseGenerator(seed).uniform(3 * 64 * 64) };
    return (await session.run({ hint })).hint_embedding!.data as Float32Array;
  };
  const [one, other] = [await embed(1), await embed(2)];
  await session.release();
  const apart = Math.sqrt(one.reduce((sum, value, i) => sum + (value - other[i]!) ** 2, 0) / one.length);
  assert.ok(apart > 0.1 && apart < 3, `what comes of two hints is ${apart} apart`);
});

test("killed with SIGKILL, a training goes on from its checkpoint to the losses and weights of one that was not", async () => {
  const whole = folders("whole");
  assert.ok(await train("controlnet", whole, SETTINGS, silent()));

  const killed = folders("killed");
  const settings = Object.entries(SETTINGS).map(([name, value]) => `--${name}=${value}`);
  const { base, dataset, output, work } = killed;
  const where = Object.entries({ base, dataset, output, work }).map(([name, value]) => `--${name}=${value}`);
  // Its curve goes to a pipe at each checkpoint, after the step's loss. Step 2's is read; at that of step 4 it is held, and killed.
  const curve = join(work, "loss.png");
  mkdirSync(work, { recursive: true });
  execFileSync("mkfifo", [curve]);
  const child = spawn(process.execPath, [PROGRAM, "controlnet", ...where, ...settings], { stdio: "inherit" });
  const exit = once(child, "exit");
  const reader = spawn("cat", [curve], { stdio: "ignore" });
  await Promise.race([once(reader, "exit"), exit]);
  reader.kill();
  const isThere = (step: number) => losses(work).includes(`\n${step},`);
  while (child.exitCode === null && !isThere(4)) await sleep(5);
  child.kill("SIGKILL");
  const [, signal] = await exit;
  assert.equal(signal, "SIGKILL", "it was still training");
  assert.ok(!existsSync(killed.output), "nothing is offered before the end");
  rmSync(curve);

  const seen: number[] = [];
  const listeners = { ...silent(), onStep: ({ step }: { step: number }) => seen.push(step) };
  assert.ok(await train("controlnet", killed, SETTINGS, listeners));
  assert.equal(seen[0], 3, "it goes on from its checkpoint, and does not begin again");
  assert.equal(losses(killed.work), losses(whole.work));
  const weights = ({ output }: typeof killed) => readFileSync(join(output, "diffusion_pytorch_model.safetensors"));
  assert.ok(weights(killed).equals(weights(whole)), "the same weights");
  assert.deepEqual(readdirSync(join(killed.output, "..")), ["killed"], "no half-made folder beside it");
});

test("stopped between steps, a training keeps its state and offers nothing", async () => {
  const stopped = folders("stopped");
  const stop = new AbortController();
  const listeners = { ...silent(), signal: stop.signal, onStep: () => stop.abort() };
  assert.equal(await train("controlnet", stopped, SETTINGS, listeners), false);
  assert.ok(existsSync(join(stopped.work, "state.safetensors")));
  assert.ok(!existsSync(stopped.output));
});

test("a training is saved before its pictures are made, stops between them, and makes the missing ones when it goes on", async () => {
  const validation = join(root, "two.json");
  const image = "circles/source/0.png";
  writeFileSync(validation, JSON.stringify(["red circle", "blue circle"].map((prompt) => ({ prompt, image }))));
  const settings = { ...SETTINGS, max_train_steps: 2, checkpointing_steps: 1 };
  const names = ["1-0.png", "1-1.png", "2-0.png", "2-1.png"];
  const picture = (work: string, name: string) => join(work, "validation", name);

  const pictured = { ...folders("pictured"), validation };
  const told: [step: number, pictures: number | undefined][] = [];
  /** Goes on until a file is there. */
  const go = (file: string) =>
    train("controlnet", pictured, settings, {
      ...silent(),
      toldUpTo: told.length,
      onStep: ({ step }, saved) => told.push([step, saved?.length]),
      signal: {
        get aborted() {
          return existsSync(file);
        },
      },
    });
  assert.equal(await go(join(pictured.work, "state.safetensors")), false);
  assert.ok(!existsSync(picture(pictured.work, names[0]!)), "it was saved first");
  assert.equal(await go(picture(pictured.work, names[0]!)), false);
  assert.ok(!existsSync(picture(pictured.work, names[1]!)), "it did not make the second one");
  assert.deepEqual(told, [], "of a step it tells with all its pictures");
  assert.equal(await go("/nothing"), true);
  assert.deepEqual(told, [
    [1, 2],
    [2, 2],
  ]);

  const undisturbed = { ...folders("undisturbed"), validation };
  assert.ok(await train("controlnet", undisturbed, settings, silent()));
  for (const { work } of [pictured, undisturbed]) assert.deepEqual(readdirSync(join(work, "validation")).sort(), names);
  for (const name of names) {
    assert.ok(readFileSync(picture(pictured.work, name)).equals(readFileSync(picture(undisturbed.work, name))), name);
  }
});

test("a disk that fills up stops a training, which goes on when there is room again", async () => {
  const full = folders("full");
  mkdirSync(full.work, { recursive: true });
  symlinkSync("/dev/full", join(full.work, "state.safetensors.part")); // what the first checkpoint is written to
  await assert.rejects(
    train("controlnet", full, SETTINGS, silent()),
    /is full; with room again, the same training goes on/,
  );
  assert.ok(!existsSync(full.output));
  assert.ok(await train("controlnet", full, SETTINGS, silent()));
  assert.equal(losses(full.work), losses(folders("whole").work));
});

test("a work folder of a training with other settings is refused", async () => {
  const other = { ...SETTINGS, learning_rate: 1e-4 };
  await assert.rejects(train("controlnet", folders("whole"), other, silent()), /holds a training with other settings/);
});

test("a resolution that the U-Net cannot halve evenly is refused with the ones that it can", async () => {
  const odd = { ...SETTINGS, resolution: 72 };
  await assert.rejects(
    train("controlnet", folders("odd"), odd, silent()),
    /resolution 72: this model needs a multiple of 16/,
  );
});

test("on the command line, batches of too many pixels are refused with what is allowed", () => {
  const run = (MAX_PIXELS: string, settings: string) => {
    const { base, dataset, output } = folders("many");
    const where = Object.entries({ base, dataset, output }).map(([name, value]) => `--${name}=${value}`);
    const args = [PROGRAM, "controlnet", ...where, "--max_train_steps=1", ...settings.split(" ")];
    const { status, stderr } = spawnSync(process.execPath, args, { env: { ...process.env, MAX_PIXELS } });
    return [status, stderr.toString()];
  };
  assert.deepEqual(run("", "--resolution=4096"), [
    1,
    "Error: --resolution: 4096×4096 is 16777216 pixels: at most 4194304 are allowed (MAX_PIXELS)\n",
  ]);
  const [status, said] = run("10000", "--resolution=64 --train_batch_size=3");
  assert.equal(status, 1);
  assert.match(String(said), /--train_batch_size: .* 3 × 64×64 is 12288 pixels: at most 10000 are .*, 2 of these;/);
});

test("pictures that do not decode and prompts that are too long are told before the first step", async () => {
  const dataset = join(root, "broken");
  await writeCircles(dataset, 3, 64);
  truncateSync(join(dataset, "target/1.png"), 60);
  writeFileSync(join(dataset, "source/2.png"), "not a picture");
  const lines = readFileSync(join(dataset, "prompt.json"), "utf8").trim().split("\n");
  const long = { ...JSON.parse(lines[0]!), prompt: "red circle ".repeat(60) };
  writeFileSync(join(dataset, "prompt.json"), [JSON.stringify(long), ...lines.slice(1)].join("\n"));
  const broken = folders("broken-run", "broken");
  await assert.rejects(train("controlnet", broken, SETTINGS, silent()), (error: Error) => {
    const [first, second, third, ...more] = error.message.split("\n");
    assert.match(first!, /^prompt.json:1: the prompt is longer than the text encoder reads/);
    assert.match(second!, /^prompt.json:2: 1.png: /);
    assert.match(third!, /^prompt.json:3: 2.png: /);
    return more.length === 0;
  });
  assert.ok(!existsSync(broken.work) || !existsSync(join(broken.work, "loss.csv")));
});

test("from configs alone, a VAE and then a base are trained to a model that the service opens", async () => {
  const nothing = join(root, "nothing");
  cpSync(BASE, nothing, { recursive: true, filter: (file) => !file.endsWith(".safetensors") });
  const vaeConfigFile = join(nothing, "vae/config.json");
  const before = JSON.parse(readFileSync(vaeConfigFile, "utf8"));
  const own = { base: nothing, dataset: join(root, "circles"), output: nothing, validation: null };
  const seen: number[] = [];
  const listeners = { ...silent(), onStep: ({ loss }: { loss: number }) => seen.push(loss) };
  const settings = { ...SETTINGS, max_train_steps: 12, checkpointing_steps: 12, ema_decay: 0.5 };

  assert.ok(await train("vae", { ...own, work: join(root, "vae-work") }, { ...settings, resolution: 32 }, listeners));
  assert.ok(seen.at(-1)! < seen[0]!, `the VAE learns: ${seen}`);
  const after = JSON.parse(readFileSync(vaeConfigFile, "utf8"));
  assert.notEqual(after.scaling_factor, before.scaling_factor, "latents have unit variance now");

  seen.length = 0;
  assert.ok(await train("base", { ...own, work: join(root, "base-work") }, settings, listeners));
  assert.ok(
    seen.slice(-3).reduce((a, b) => a + b) < seen.slice(0, 3).reduce((a, b) => a + b),
    `the base learns: ${seen}`,
  );
  assert.equal(openBase(nothing).vae.scaling_factor, after.scaling_factor);
});
