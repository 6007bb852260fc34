import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import { readEdm } from "../../src/models/edm.ts";
import { openSingleFile } from "../../src/models/single-file.ts";
import { published, writeFile } from "../support/original.ts";

const dir = mkdtempSync(join(tmpdir(), "edm-"));
after(() => rmSync(dir, { recursive: true }));

const float32 = (values: number[], shape = [values.length]) => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
const half = (value: number) => ({ dtype: "F16", shape: [], bytes: new Uint8Array(Float16Array.of(value).buffer) });

function read(tensors: Record<string, ReturnType<typeof float32>>) {
  const file = join(dir, "marks.safetensors");
  writeFile(file, new Map(Object.entries(tensors)));
  return readEdm(readCheckpoint(file));
}

test("Playground v2.5 says the moments of its latents", () => {
  const [mean, std] = [
    [-1.5, 2, -1.25, 2.5],
    [8, 6, 6.5, 5],
  ];
  const edm = read({ edm_mean: float32(mean!, [1, 4, 1, 1]), edm_std: float32(std!, [1, 4, 1, 1]) })!;
  assert.deepEqual(edm.vae, { scaling_factor: 0.5, latents_mean: mean, latents_std: std });
  assert.partialDeepStrictEqual(edm.scheduler, { _class_name: "EDMDPMSolverMultistepScheduler", sigma_data: 0.5 });
});

test("CosXL says the ends of its noise, in whatever floats", () => {
  const cosXl = { _class_name: "EDMEulerScheduler", prediction_type: "v_prediction", sigma_schedule: "exponential" };
  const both = read({ "edm_vpred.sigma_max": float32([120], []), "edm_vpred.sigma_min": half(0.25) })!;
  assert.deepEqual(both, { scheduler: { ...cosXl, sigma_data: 1, sigma_max: 120, sigma_min: 0.25 }, vae: {} });
  assert.partialDeepStrictEqual(read({ "edm_vpred.sigma_max": half(96) })!.scheduler, {
    sigma_max: 96,
    sigma_min: 0.002,
  });
});

test("a file without such tensors says nothing, and one with bad ones is refused", () => {
  assert.equal(read({ edm_mean: float32([1, 2, 3, 4]) }), null);
  assert.throws(
    () => read({ "edm_vpred.sigma_max": float32([0.001]) }),
    /sigma_max 0.001.* must be more than sigma_min/,
  );
  assert.throws(() => read({ "edm_vpred.sigma_max": float32([Number.NaN]) }), /"edm_vpred.sigma_max" has a value/);
  const many = float32(Array.from({ length: 65 }, () => 1));
  assert.throws(() => read({ edm_mean: many, edm_std: many }), /"edm_mean" is F32 \[65\]/);
});

test("SDXL's file with such tensors is an EDM model, and nothing in it is left over", () => {
  const tensors = new Map<string, Parameters<typeof writeFile>[1] extends ReadonlyMap<string, infer T> ? T : never>(
    published("sdxl").map(({ name, shape }) => [name, { dtype: "F16", shape }]),
  );
  tensors.set("edm_mean", float32([1, 2, 3, 4], [1, 4, 1, 1])).set("edm_std", float32([5, 6, 7, 8], [1, 4, 1, 1]));
  const file = join(dir, "playground.safetensors");
  writeFile(file, tensors);
  const model = openSingleFile(file);
  assert.deepEqual(model.vae.latents_std, [5, 6, 7, 8]);
  assert.deepEqual(model.warnings, []);

  tensors.set("edm_mean", float32([1, 2, 3])).set("edm_std", float32([1, 2, 3]));
  writeFile(file, tensors);
  assert.throws(() => openSingleFile(file), /latents_mean has 3 values, its latents 4 channels/);
});
