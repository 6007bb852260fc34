/** Speed for a price: DeepCache and reused residuals on the tiny sd15 checkpoint, with every run of a network counted. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { loadControlNet, loadModel, type Runner } from "../../src/diffusion/load.ts";
import { type GenerationState, type Plan, prepare, step } from "../../src/diffusion/pipeline.ts";
import { isFresh } from "../../src/diffusion/reuse.ts";
import { hint } from "../../src/image/hint.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import type { Network } from "../../src/models/network.ts";
import { maxBranch } from "../../src/models/shallow.ts";
import { decodeState, encodeState } from "../../workers/generate/saved-state.ts";
import { finish, readImage, request, runner, SD15 } from "../support/tiny.ts";

const runs = new Map<Network, number>();
const counting: Runner = (network) => {
  const trunk = network.grafted?.trunk ?? network;
  const run = runner(network);
  return (feeds) => {
    runs.set(trunk, (runs.get(trunk) ?? 0) + 1);
    return run(feeds);
  };
};

const base = openBase(join(SD15, "base"));
const canny = openControlNet(join(SD15, "controlnets/canny"));
const model = loadModel(base, counting, counting);
const controlnet = loadControlNet(canny, counting, counting);

function plan(fields: object, control: object = {}): Promise<Plan> {
  runs.clear();
  const images = { hints: [[() => readImage("canny_depth/control_0.png", hint)]], masks: [null], source: null };
  return prepare(request({ num_inference_steps: 6, ...fields }, [control]), model, [controlnet], images);
}
const generate = async (...args: Parameters<typeof plan>) => (await finish(await plan(...args)))[0]!;
const countOf = (network: Network) => runs.get(network) ?? 0;
const deepcache = (interval: number, branch = 0) => ({ cache: { method: "deepcache", interval, branch } });
const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

test("at interval 1 neither changes a byte", async () => {
  const exact = await generate({});
  assert.deepEqual(await generate({ ...deepcache(1), control_interval: 1 }), exact);
});

test("the outer part at any branch goes on from the whole U-Net to the same noise prediction", async (t) => {
  const feeds: Record<string, unknown>[] = [];
  const noting: Runner = (network) => {
    const run = runner(network);
    return (own) => {
      feeds.push(own);
      return run(own);
    };
  };
  const seeing = loadModel(base, noting, counting);
  const images = { hints: [[() => readImage("canny_depth/control_0.png", hint)]], masks: [null], source: null };
  const one = await prepare(request({ num_inference_steps: 6 }, [{}]), seeing, [controlnet], images);
  await step(one, one.start);
  const own = feeds.find((named) => "sample" in named) as Parameters<ReturnType<Runner>>[0];
  for (const branch of [0, 2, maxBranch(base.unet)]) {
    const { whole, shallow } = model.run.split(branch);
    const { out, deep } = await whole(own);
    const outer = Object.entries(own).filter(([name]) => {
      const number = /^down_residual_(\d+)$/.exec(name)?.[1];
      return name !== "mid_residual" && (number === undefined || Number(number) <= branch);
    });
    const again = (await shallow({ ...Object.fromEntries(outer), deep: deep! })).out!;
    const error = apart(out!.data as Float32Array, again.data as Float32Array);
    t.diagnostic(`branch ${branch}: ${error.toExponential(1)} at most apart`);
    assert.ok(error < 1e-5);
  }
});

test("between two whole evaluations neither the U-Net's inner part nor the ControlNet's runs", async () => {
  const exact = await generate({});
  const quick = await generate(deepcache(3));
  assert.equal(countOf(base.networks.unet), 2);
  assert.equal(countOf(base.networks.shallow(0)), 4);
  assert.equal(countOf(canny.networks.controlnet), 2);
  assert.equal(countOf(canny.networks.shallow(0)), 4);
  assert.ok(apart(exact, quick) > 1e-4, "it is another picture");
});

test("with control_interval 2 the ControlNet runs at every other evaluation", async () => {
  const exact = await generate({});
  const quick = await generate({ control_interval: 2 });
  assert.equal(countOf(canny.networks.controlnet), 3);
  assert.equal(countOf(base.networks.unet), 6);
  assert.ok(apart(exact, quick) > 1e-4, "it is another picture");
});

test("a ControlNet whose window opens between is run then, and not used after its window", async () => {
  await generate({ control_interval: 4 }, { control_guidance_start: 1 / 6, control_guidance_end: 3 / 6 });
  assert.equal(countOf(canny.networks.controlnet), 1);
});

test("both together: residuals that a whole evaluation will need are all computed", async () => {
  // Evaluations 0 and 3 are whole; the ControlNet runs at 0, 2 and 4, at 2 for 3 as well.
  await generate({ ...deepcache(3), control_interval: 2 });
  assert.equal(countOf(canny.networks.controlnet), 2);
  assert.equal(countOf(canny.networks.shallow(0)), 1);
});

test("a state that is saved where nothing kept is needed goes on to the same bytes", async () => {
  const fields = { ...deepcache(3), control_interval: 2, num_inference_steps: 8 };
  const straight = await generate(fields);
  const rewrite = (state: GenerationState) =>
    isFresh(request(fields), state.step) ? decodeState(encodeState(state, "cpu"), "cpu")! : state;
  assert.deepEqual((await finish(await plan(fields), rewrite))[0], straight);
});

test("the tiny decoder is refused where the model has none", async () => {
  await assert.rejects(generate({ decoder: "tiny" }), /no tiny autoencoder/);
});
