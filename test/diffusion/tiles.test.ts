import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { relative } from "../../check/modules.ts";
import { readTensors } from "../../check/tensors.ts";
import { decodeTiled } from "../../src/diffusion/tiles.ts";
import { openBase } from "../../src/models/base.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");

test("a picture decoded in tiles is the one that diffusers decodes in tiles", async () => {
  const expected = readTensors(join(FIXTURES, "tiles.safetensors"));
  const session = await openSession(openBase(join(FIXTURES, "sd15/base")).networks.vae_decoder.graph(), CPU);
  const { dims, data } = expected.get("latents")!;
  const image = await decodeTiled(session.run, { dims: dims.slice(1), data }, 8, 8);
  await session.release();
  const error = relative(image, expected.get("image")!);
  console.log(`tiled VAE: ${error.toExponential(1)} relative`);
  assert.ok(error < 1e-5, `${error}`);
});
