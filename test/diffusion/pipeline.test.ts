/** The pipeline on the tiny sd15 checkpoint, with every run of a network counted. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { deserialize, serialize } from "node:v8";
import { noFeatures } from "../../src/diffusion/adapters/t2i-adapters.ts";
import { noResiduals } from "../../src/diffusion/control.ts";
import { loadControlNet, loadModel, type Runner } from "../../src/diffusion/load.ts";
import { decodePicture, type Images, type Plan, prepare, step } from "../../src/diffusion/pipeline.ts";
import { fill, repeatRow } from "../../src/diffusion/rows.ts";
import { hint } from "../../src/image/hint.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { residualLevels } from "../../src/models/encoder.ts";
import type { Network } from "../../src/models/network.ts";
import { finish, HASH, readImage, request, runner, SD15, SIZE } from "../support/tiny.ts";

/** The rows of each run, by network. */
const runs = new Map<Network, number[]>();
const counting: Runner = (network) => {
  const run = runner(network);
  return (feeds) => {
    runs.set(network, [
      ...(runs.get(network) ?? []),
      (feeds.encoder_hidden_states ?? Object.values(feeds)[0]!).dims[0]!,
    ]);
    return run(feeds);
  };
};

const base = openBase(join(SD15, "base"));
const canny = openControlNet(join(SD15, "controlnets/canny"));
const depth = openControlNet(join(SD15, "controlnets/depth"));
const model = loadModel(base, counting, counting);
const controlnets = [canny, depth].map((one) => loadControlNet(one, counting, counting));
const hints = [0, 1].map((i) => () => readImage(`canny_depth/control_${i}.png`, hint));

function plan(fields: object, controls: object[] = [], images: Partial<Images> = {}): Promise<Plan> {
  runs.clear();
  return prepare(request(fields, controls), model, controlnets.slice(0, controls.length), {
    hints: controls.map((_, i) => [hints[i]!]),
    masks: controls.map(() => null),
    source: null,
    ...images,
  });
}

const generate = async (...args: Parameters<typeof plan>) => (await finish(await plan(...args)))[0]!;
const rowsOf = (network: Network) => runs.get(network) ?? [];

test("what is the same for both rows of guidance need be told once", async () => {
  const { config } = canny;
  const wave = (...dims: number[]) => ({
    dims,
    data: Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)),
  });
  const told = { encoder_hidden_states: wave(2, 77, config.cross_attention_dim), ...noResiduals(base.unet) };
  const masks = Object.fromEntries(config.block_out_channels.map((_, k) => [`mask_${k}`, fill([1, 1, 1, 1], 1)]));
  const ofControl = {
    ...masks,
    hint_embedding: wave(1, config.block_out_channels[0]!, 8, 8),
    rows: { dims: [2], data: BigInt64Array.of(0n, 1n) },
    scales: fill([2, residualLevels(config).length], 1),
  };
  for (const [network, more] of [
    [base.networks.unet, noFeatures(base.unet)],
    [canny.networks.controlnet, ofControl],
  ] as const) {
    const { dims, data } = wave(4, 8, 8);
    const [once, twice] = await Promise.all(
      [1, 2].map((rows) =>
        runner(network)({
          ...told,
          ...more,
          sample: repeatRow(dims, data, rows),
          timestep: fill([rows], 500),
        }),
      ),
    );
    for (const [name, { dims, data }] of Object.entries(twice!)) {
      assert.deepEqual(once![name]!.dims, dims);
      const error = Math.max(
        ...(data as Float32Array).map((value, i) => Math.abs(value - Number(once![name]!.data[i]))),
      );
      assert.ok(error <= 1e-5, `${name}: ${error}`);
    }
  }
});

test("without guidance the U-Net runs on one row, with it on two", async () => {
  await generate({ guidance_scale: 1 });
  assert.deepEqual(rowsOf(base.networks.unet), [1, 1, 1, 1]);
  await generate({ guidance_scale: 7.5 });
  assert.deepEqual(rowsOf(base.networks.unet), [2, 2, 2, 2]);
});

test("a ControlNet runs at the evaluations of its window alone", async () => {
  await generate({}, [{ control_guidance_start: 0.25, control_guidance_end: 0.75 }]);
  assert.deepEqual(rowsOf(canny.networks.controlnet), [2, 2]);
  assert.deepEqual(rowsOf(base.networks.unet), [2, 2, 2, 2]);
});

test("a ControlNet at scale 0 does not run, and changes not one byte", async () => {
  const plain = await generate({});
  assert.deepEqual(await generate({}, [{ conditioning_scale: 0 }]), plain);
  assert.deepEqual(rowsOf(canny.networks.controlnet), []);
  assert.deepEqual(rowsOf(canny.networks.hint), []);
  assert.deepEqual(await generate({}, [{ layer_scales: Array(13).fill(0) }]), plain);
  assert.deepEqual(rowsOf(canny.networks.controlnet), []);
  // A window between two evaluations.
  assert.deepEqual(await generate({}, [{ control_guidance_start: 0.3, control_guidance_end: 0.4 }]), plain);
  assert.deepEqual(rowsOf(canny.networks.hint), []);
});

for (const [what, fields, control] of [
  ["in guess mode", { guess_mode: true }, {}],
  ["with cfg_resolution_weighting", { cfg_resolution_weighting: true }, {}],
  ["in control_mode control", {}, { control_mode: "control" }],
] as const) {
  test(`${what} a ControlNet runs on the conditional half alone`, async () => {
    await generate(fields, [control]);
    assert.deepEqual(rowsOf(canny.networks.controlnet), [1, 1, 1, 1]);
    assert.deepEqual(rowsOf(base.networks.unet), [2, 2, 2, 2]);
  });
}

test("a hint is encoded once a request, however many steps and pictures there are", async () => {
  await finish(await plan({ num_images: 2 }, [{}, {}]));
  assert.deepEqual(rowsOf(canny.networks.hint), [1]);
  assert.deepEqual(rowsOf(depth.networks.hint), [1]);
  assert.equal(rowsOf(canny.networks.controlnet).length, 8);
});

test("one hint a picture: each picture has its own", async () => {
  const both = await finish(await plan({ num_images: 2 }, [{}], { hints: [hints] }));
  const [first] = await finish(await plan({}, [{}], { hints: [[hints[0]!]] }));
  const [second] = await finish(await plan({ seed: 8 }, [{}], { hints: [[hints[1]!]] }));
  assert.deepEqual(both, [first, second]);
});

for (const scheduler of ["ddim", "euler_ancestral", "heun", "pndm", "dpmpp_2m_sde_karras", "unipc"] as const) {
  test(`${scheduler}: a picture has the same bytes alone and as one of several`, async () => {
    const several = await finish(await plan({ scheduler, num_images: 2 }, [{}]));
    for (const [i, picture] of several.entries()) {
      assert.deepEqual(await generate({ scheduler, seed: 7 + i }, [{}]), picture);
    }
  });

  test(`${scheduler}: a state written out and read back after every step goes on to the same bytes`, async () => {
    const straight = await generate({ scheduler }, [{}]);
    const again = await finish(await plan({ scheduler }, [{}]), (state) => deserialize(serialize(state)));
    assert.deepEqual(again[0], straight);
  });
}

test("an inpainting taken up from a written state in a new plan goes on to the same bytes", async () => {
  const plane = SIZE * SIZE;
  const source = {
    image: { dims: [1, 3, SIZE, SIZE], data: new Float32Array(3 * plane).map((_, i) => Math.sin(i / 50)) },
    mask: { dims: [1, 1, SIZE, SIZE], data: new Float32Array(plane).map((_, i) => (i < plane / 2 ? 1 : 0)) },
  };
  const fields = { scheduler: "euler_ancestral", strength: 1, image: HASH, mask_image: HASH };
  const make = () => plan(fields, [{}], { source });
  const first = await make();
  const straight = await finish(first);
  const halfway = serialize(await step(first, await step(first, first.start)));
  assert.deepEqual(await finish({ ...(await make()), start: deserialize(halfway) }), straight);
});

const ONES = { dims: [1, 1, SIZE, SIZE], data: new Float32Array(SIZE * SIZE).fill(1) };
const ZEROS = { dims: [1, 1, SIZE, SIZE], data: new Float32Array(SIZE * SIZE) };
const LEFT = {
  dims: [1, 1, SIZE, SIZE],
  data: new Float32Array(SIZE * SIZE).map((_, i) => (i % SIZE < SIZE / 2 ? 1 : 0)),
};

test("a white mask changes nothing, a black one is as no ControlNet, half a mask is neither", async () => {
  const [plain, controlled] = [await generate({}), await generate({}, [{}])];
  assert.deepEqual(await generate({}, [{}], { masks: [ONES] }), controlled);
  assert.deepEqual(await generate({}, [{}], { masks: [ZEROS] }), plain);
  const half = await generate({}, [{}], { masks: [LEFT] });
  assert.notDeepEqual(half, plain);
  assert.notDeepEqual(half, controlled);
});

test("layer_scales of one change nothing; of a half they are conditioning_scale a half", async () => {
  const scaled = (scale: number) => generate({}, [{ layer_scales: Array(13).fill(scale) }]);
  assert.deepEqual(await scaled(1), await generate({}, [{}]));
  assert.deepEqual(await scaled(0.5), await generate({}, [{ conditioning_scale: 0.5 }]));
});

const scalesOf = async (fields: object, control: object) =>
  (await plan(fields, [control])).pictures[0]!.controls[0]!.scales.map((scale) => Number(scale.toFixed(6)));

test("the factors of a mode are those of its source", async () => {
  const soft = Array.from({ length: 13 }, (_, i) => Number((0.825 ** (12 - i)).toFixed(6)));
  assert.deepEqual(await scalesOf({}, { control_mode: "prompt" }), soft);
  assert.deepEqual(await scalesOf({}, { control_mode: "control" }), soft);
  const guess = Array.from({ length: 13 }, (_, i) => Number((10 ** (i / 12 - 1)).toFixed(6)));
  assert.deepEqual(await scalesOf({ guess_mode: true }, {}), guess);
  // Latents of 8 × 8: the residuals are 8, 4, 2 and 1 high.
  const byResolution = [8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64];
  assert.deepEqual(await scalesOf({ cfg_resolution_weighting: true }, {}), byResolution);
});

test("sizes whose latents halve to odd numbers are drawn, with control", async () => {
  const size = { width: 72, height: 88 };
  const odd = { dims: [1, 3, 88, 72], data: new Float32Array(3 * 88 * 72).fill(0.5) };
  assert.equal((await generate(size, [{}], { hints: [[async () => odd]] })).length, 3 * 72 * 88);
});

test("a picture of more than 1024 × 1024 is decoded in tiles", async () => {
  const large = await plan({ width: 1024, height: 1032 });
  const image = await decodePicture(large, large.start.pictures[0]!);
  assert.equal(image.length, 3 * 1024 * 1032);
  assert.equal(rowsOf(base.networks.vae_decoder).length, 9); // of 64 × 64 cells, 48 apart
});
