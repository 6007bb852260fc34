/**
 * Whole requests over HTTP against what diffusers makes of them: `expected.safetensors` of each case. EXECUTION_PROVIDER
 * chooses another provider than the CPU.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import sharp, { type Sharp } from "sharp";
import { readTensors } from "../../check/tensors.ts";
import { decodeImage } from "../../src/image/decode.ts";
import type { Model } from "../../src/schema/catalog.ts";
import type { Generation } from "../../src/schema/generation.ts";
import { dataFolder, freePort, kill, startNode, startRedis, until } from "../support/processes.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
/** Rounding to 8 bits alone gives 59.3 to 59.8 dB. */
const LEAST_PSNR = 57;

interface Case {
  readonly family: string;
  readonly name: string;
  readonly dir: string;
}

const families = readdirSync(FIXTURES).filter((family) => existsSync(join(FIXTURES, family, "cases")));
const cases: Case[] = families.flatMap((family) =>
  readdirSync(join(FIXTURES, family, "cases")).map((name) => ({
    family,
    name,
    dir: join(FIXTURES, family, "cases", name),
  })),
);

const stack = new AsyncDisposableStack();
const urls = new Map<string, string>();
/** Ends a family's worker and starts another. */
const restarts = new Map<string, (settings?: { PRECISION?: string }) => Promise<void>>();
const figures: string[] = [];

/** A service of a family's checkpoint alone. */
async function startFamily(family: string): Promise<void> {
  const port = await freePort();
  const env = {
    REDIS_URL: (await startRedis(stack)).url,
    DATA_DIR: await dataFolder(stack),
    MODELS_DIR: join(FIXTURES, family),
    PORT: `${port}`,
    EXECUTION_PROVIDER: process.env.EXECUTION_PROVIDER ?? "cpu",
  };
  const url = `http://127.0.0.1:${port}`;
  startNode(stack, "src/gateway/server.ts", env);
  let worker = startNode(stack, "workers/generate/main.ts", env);
  restarts.set(family, async (settings) => {
    await kill(worker.child, "SIGTERM");
    worker = startNode(stack, "workers/generate/main.ts", { ...env, ...settings });
  });
  await until("ready", async () => (await fetch(`${url}/ready`).catch(() => undefined))?.ok, 60_000);
  urls.set(family, url);
}

before(() => Promise.all(families.map(startFamily)));

after(async () => {
  console.log(`\nPSNR over HTTP against diffusers (at least ${LEAST_PSNR} dB)\n${figures.join("\n")}\n`);
  await stack.disposeAsync();
});

/** request.json with its files as data: URIs. */
function readRequest(dir: string): Record<string, unknown> {
  const uri = (file: string) => `data:image/png;base64,${readFileSync(join(dir, file)).toString("base64")}`;
  const request = JSON.parse(readFileSync(join(dir, "request.json"), "utf8"));
  for (const control of request.controls ?? []) {
    control.image = uri(control.image);
  }
  for (const field of ["image", "mask_image"]) {
    if (existsSync(join(dir, `${field}.png`))) {
      request[field] = uri(`${field}.png`);
    }
  }
  return request;
}

async function generation(family: string, request: object): Promise<Generation> {
  const response = await fetch(`${urls.get(family)}/v1/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "wait=60" },
    body: JSON.stringify(request),
  });
  const made = (await response.json()) as Generation;
  assert.equal(made.status, "succeeded", JSON.stringify(made));
  return made;
}

/** The pictures that the service makes of a request, as PNG bytes. */
async function generate(family: string, request: object): Promise<Uint8Array[]> {
  const { images } = await generation(family, request);
  return Promise.all(images.map(async ({ url }) => (await fetch(url)).bytes()));
}

/** Peak signal-to-noise ratio in dB of 8-bit pictures against values in 0 … 1. */
async function psnr(pictures: readonly Uint8Array[], expected: ArrayLike<number>): Promise<number> {
  let squares = 0;
  let i = 0;
  for (const picture of pictures) {
    for (const value of (await decodeImage(picture, { maxPixels: 2 ** 24 })).data) {
      squares += (value / 255 - expected[i++]!) ** 2;
    }
  }
  assert.equal(i, expected.length);
  return -10 * Math.log10(squares / i);
}

for (const { family, name, dir } of cases) {
  test(`${family}/${name} is the picture that diffusers makes`, async () => {
    const { data } = readTensors(join(dir, "expected.safetensors")).get("images")!;
    const decibels = await psnr(await generate(family, readRequest(dir)), data as Float32Array);
    figures.push(`${`${family}/${name}`.padEnd(32)} ${decibels.toFixed(2)} dB`);
    assert.ok(decibels >= LEAST_PSNR, `${decibels.toFixed(2)} dB`);
  });
}

type Control = Record<string, unknown> & { image: string };

/** A data: URI's picture, changed. */
async function redrawn(uri: string, change: (picture: Sharp) => Sharp): Promise<string> {
  const picture = sharp(Buffer.from(uri.slice(uri.indexOf(",") + 1), "base64")).toColourspace("srgb");
  return `data:image/png;base64,${(await change(picture).png().toBuffer()).toString("base64")}`;
}
/** Red for blue. */
const SWAPPED: [[number, number, number], [number, number, number], [number, number, number]] = [
  [0, 0, 1],
  [0, 1, 0],
  [1, 0, 0],
];

/** What these comparisons are for: each mistake makes another picture than diffusers'. */
const MISTAKES: Record<string, [name: string, make: (request: Record<string, unknown>, control: Control) => unknown]> =
  {
    "a hint mirrored": [
      "canny",
      async (_, control) => {
        control.image = await redrawn(control.image, (picture) => picture.flop());
      },
    ],
    "BGR for RGB": [
      "canny",
      async (_, control) => {
        control.image = await redrawn(control.image, (picture) => picture.recomb(SWAPPED));
      },
    ],
    "a window ignored": [
      "canny_scaled_window",
      (_, control) => {
        delete control.control_guidance_start;
        delete control.control_guidance_end;
      },
    ],
    "a scale off by 0.1": [
      "canny",
      (_, control) => {
        control.conditioning_scale = 0.9;
      },
    ],
    "guidance off by 0.1": [
      "canny",
      (request) => {
        request.guidance_scale = 7.4;
      },
    ],
  };
for (const [mistake, [name, make]] of Object.entries(MISTAKES)) {
  test(`${mistake} would be noticed`, async (t) => {
    const dir = join(FIXTURES, "sd15/cases", name);
    const request = readRequest(dir);
    await make(request, (request.controls as [Control])[0]);
    const { data } = readTensors(join(dir, "expected.safetensors")).get("images")!;
    const decibels = await psnr(await generate("sd15", request), data as Float32Array);
    t.diagnostic(`${decibels.toFixed(2)} dB`);
    assert.ok(decibels < LEAST_PSNR, `${decibels.toFixed(2)} dB`);
  });
}

test("what is cut off a prompt is told in the answer", async () => {
  const { warnings } = await generation("sd15", readRequest(join(FIXTURES, "sd15/cases/long_prompt")));
  assert.equal(warnings.filter((text) => /longer than the text encoder reads; cut off: "/.test(text)).length, 1);
});

test("an untrained ControlNet changes not one byte", async () => {
  const plain = await generate("sd15", readRequest(join(FIXTURES, "sd15/cases/plain_ddim")));
  const untrained = await generate("sd15", readRequest(join(FIXTURES, "sd15/cases/untrained_is_plain")));
  assert.deepEqual(untrained, plain);
});

test("the same request gives the same bytes again, also after another", async () => {
  const canny = readRequest(join(FIXTURES, "sd15/cases/canny"));
  const first = await generate("sd15", canny);
  await generate("sd15", readRequest(join(FIXTURES, "sd15/cases/three_controls")));
  assert.deepEqual(await generate("sd15", canny), first);
});

test("the same request gives the same bytes after a restart", async () => {
  const several = { ...readRequest(join(FIXTURES, "sd15/cases/canny")), num_images: 2 };
  const first = await generate("sd15", several);
  await restarts.get("sd15")!();
  assert.deepEqual(await generate("sd15", several), first);
});

/** On these random weights, which are harder on it than trained ones. */
const LEAST_PSNR_INT8 = 25;

test("a worker in 8 bits says so, is near, and the same each time", async (t) => {
  const dir = join(FIXTURES, "sd15/cases/canny");
  const request = readRequest(dir);
  const exact = await generation("sd15", request);
  await restarts.get("sd15")!({ PRECISION: "int8" });
  const [first, again] = [await generation("sd15", request), await generation("sd15", request)];
  assert.deepEqual(
    [exact, first].map(({ images }) => images[0]!.precision),
    ["float32", "int8"],
  );
  assert.equal(first.images[0]!.sha256, again.images[0]!.sha256);
  assert.notEqual(first.images[0]!.sha256, exact.images[0]!.sha256);
  const picture = await (await fetch(first.images[0]!.url)).bytes();
  const { data } = readTensors(join(dir, "expected.safetensors")).get("images")!;
  const decibels = await psnr([picture], data as Float32Array);
  t.diagnostic(`${decibels.toFixed(2)} dB`);
  assert.ok(decibels >= LEAST_PSNR_INT8);
  const { data: models } = (await (await fetch(`${urls.get("sd15")}/v1/models`)).json()) as { data: Model[] };
  assert.deepEqual(
    models.map(({ precision }) => precision),
    ["int8"],
  );
});
