/** A U-Net and its ControlNets as one network, as accelerators run them: on the CPU, for the numbers. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type Join, loadControlNet, loadModel, type Runner } from "../../src/diffusion/load.ts";
import { prepare } from "../../src/diffusion/pipeline.ts";
import { hint } from "../../src/image/hint.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { joint } from "../../src/models/joint.ts";
import type { Network } from "../../src/models/network.ts";
import { openSession, type Session } from "../../workers/runtime/runtime.ts";
import { layModels, requestOf } from "../support/adapter-models.ts";
import { temporaryFolder } from "../support/processes.ts";
import { readRequest, serve } from "../support/served.ts";
import { finish, HALF, readImage, request, runner, SD15 } from "../support/tiny.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
/** JOINT_CASES=all for every case of the fixtures with ControlNets. */
const CASES: Readonly<Record<string, readonly string[]>> = {
  sd15: ["canny_guess", "inpaint", "shuffle", "two_images"],
  sd21: ["canny_v"],
  sdxl: ["canny"],
};
const ADAPTERS = process.env.ADAPTER_CASES ?? join(FIXTURES, "adapters");

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

describe("a picture by the joint network is the picture by its parts, to the byte", () => {
  const same = (name: string, models: () => Promise<string>, input: () => Record<string, unknown>) =>
    test(name, async (t) => {
      const joined: number[] = [];
      const own: Join = (unet, controlnets) => {
        joined.push(controlnets.length);
        return joint(unet, controlnets);
      };
      const folder = await models();
      assert.deepEqual(await serve(folder, input(), own), await serve(folder, input()));
      t.diagnostic(`ControlNets in one with the U-Net: ${joined.join() || "none"}`);
      assert.ok(process.env.JOINT_CASES !== undefined || joined.length > 0);
    });

  for (const [family, names] of Object.entries(CASES)) {
    const models = join(FIXTURES, family);
    const cases = process.env.JOINT_CASES === undefined ? names : readdirSync(join(models, "cases"));
    for (const name of cases) {
      same(
        `${family}/${name}`,
        async () => models,
        () => readRequest(join(models, "cases", name)),
      );
    }
  }
  for (const family of readdirSync(ADAPTERS).filter((name) => name in CASES)) {
    const own = join(ADAPTERS, family);
    const cases = readdirSync(join(own, "cases")).filter(
      (name) => name === "everything" || process.env.JOINT_CASES !== undefined,
    );
    for (const name of cases) {
      const models = async () => {
        const folder = await temporaryFolder(stack);
        layModels(folder, family, own);
        return folder;
      };
      same(`${family}/${name}, with adapters`, models, () => requestOf(join(own, "cases", name), name));
    }
  }
});

/** How often each network has run. */
const runs = new Map<Network, number>();
const counting =
  (run: Runner): Runner =>
  (network) => {
    const own = run(network);
    return (feeds) => {
      runs.set(network, (runs.get(network) ?? 0) + 1);
      return own(feeds);
    };
  };
const countOf = (network: Network) => runs.get(network) ?? 0;

const base = openBase(join(SD15, "base"));
const opened = ["canny", "depth"].map((name) => openControlNet(join(SD15, "controlnets", name)));
const [canny, depth] = opened.map(({ networks }) => networks.controlnet) as [Network, Network];
const { unet } = base.networks;
const hints = [0, 1].map((i) => [() => readImage(`canny_depth/control_${i}.png`, hint)]);

async function generate(fields: object, controls: object[], run: Runner = runner, join: Join = joint) {
  runs.clear();
  const own = counting(run);
  const model = loadModel(base, own, own, join);
  const controlnets = opened.slice(0, controls.length).map((one) => loadControlNet(one, own, own));
  const images = { hints: hints.slice(0, controls.length), masks: controls.map(() => null), source: null };
  return (await finish(await prepare(request(fields, controls), model, controlnets, images)))[0]!;
}

test("ControlNets that are open at every evaluation run in one with the U-Net, and never by themselves", async () => {
  await generate({}, [{}, {}]);
  assert.equal(countOf(joint(unet, [canny, depth])), 4);
  assert.deepEqual([canny, depth, unet].map(countOf), [0, 0, 0]);
});

test("the same ones in the same order are the same network, which is loaded once", () => {
  assert.equal(joint(unet, [canny, depth]), joint(unet, [canny, depth]));
  assert.notEqual(joint(unet, [canny, depth]), joint(unet, [depth, canny]));
  assert.notEqual(joint(unet, [canny, depth]), joint(unet, [canny]));
});

for (const [what, fields, controls] of [
  ["a window", {}, [{ control_guidance_end: 0.5 }]],
  ["a window of one of two", {}, [{}, { control_guidance_start: 0.5 }]],
  ["control_interval", { control_interval: 2 }, [{}]],
  ["a cache", { cache: { method: "deepcache", interval: 2, branch: 0 } }, [{}]],
  ["no ControlNet", {}, []],
] as const) {
  test(`with ${what} the U-Net is needed by itself, and so each runs by itself`, async () => {
    await generate(fields, [...controls]);
    assert.deepEqual([joint(unet, [canny]), joint(unet, [canny, depth])].map(countOf), [0, 0]);
  });
}

test("a ControlNet that gives values that are not finite is named, though it ran in one with the U-Net", async () => {
  const spoiled = new Set([canny, joint(unet, [canny, depth])]);
  const spoiling: Runner = (network) => async (feeds) => {
    const outputs = await runner(network)(feeds);
    if (!spoiled.has(network)) return outputs;
    for (const { data } of Object.values(outputs)) (data as Float32Array)[0] = Number.NaN;
    return outputs;
  };
  await assert.rejects(generate({}, [{}, {}], spoiling), /the ControlNet "any" gave.* step 1 of 4/);
});

test("in half precision too it gives what its parts give one after the other", async () => {
  const sessions = new Map<Network, Promise<Session>>();
  const inHalf: Runner = (network) => async (feeds) => {
    const session = sessions.get(network) ?? openSession(network.graph(HALF), HALF);
    sessions.set(network, session);
    return (await session).run(feeds);
  };
  const fields = { num_inference_steps: 2 };
  const together = await generate(fields, [{}, {}], inHalf);
  assert.equal(countOf(joint(unet, [canny, depth])), 2);
  assert.deepEqual(together, await generate(fields, [{}, {}], inHalf, () => null));
  for (const session of sessions.values()) await (await session).release();
});
