import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { verdictOf } from "../src/diffusion/safety.ts";
import { clipPixels } from "../src/image/clip-pixels.ts";
import { decodeImage } from "../src/image/decode.ts";
import { openSafetyChecker, SAFETY_CHECKER } from "../src/models/safety-checker.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import type { Finding } from "./finding.ts";
import { readTensors } from "./tensors.ts";

const BOUND = 1e-4;

/**
 * `<dir>/safety_checker`: what it says of `image_0.png`, `image_1.png` … against its `expected.safetensors`. Errors are the largest absolute
 * differences; of the flag 1 where it is another.
 */
export async function check(dir: string): Promise<Finding[]> {
  const folder = join(dir, SAFETY_CHECKER);
  const expected = new Map(
    [...readTensors(join(folder, "expected.safetensors"))].map(([name, one]) => [name, rows(one)]),
  );
  const { config, network } = openSafetyChecker(folder);
  const session = await openSession(network.graph(CPU), CPU);
  const side = config.image_size;
  const findings: Finding[] = [];
  for (let i = 0; existsSync(join(folder, `image_${i}.png`)); i++) {
    const picture = await decodeImage(readFileSync(join(folder, `image_${i}.png`)), { maxPixels: 2 ** 24 });
    const pixels = clipPixels(picture, side);
    const outputs = await session.run({ pixel_values: { dims: [1, 3, side, side], data: pixels } });
    const verdict = verdictOf(outputs);
    const compare = (name: string, actual: ArrayLike<number>, bound: number) => {
      const row = expected.get(name)?.[i];
      if (row !== undefined) findings.push({ subject: `safety ${i}.${name}`, error: farthest(actual, row), bound });
    };
    compare("pixel_values", pixels, BOUND);
    compare("image_embeds", outputs.image_embeds!.data as Float32Array, BOUND);
    compare("special_cos", verdict.special_cos, BOUND);
    compare("concept_cos", verdict.concept_cos, BOUND);
    compare("concept_scores", verdict.concept_scores, BOUND);
    compare("flags", [Number(verdict.flagged)], 0);
  }
  await session.release();
  return findings;
}

/** A tensor's rows, by its first axis. */
function rows({ dims, data }: Tensor): number[][] {
  const count = dims[0]!;
  const values = Array.from(data as ArrayLike<number | bigint>, Number);
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size));
}

const farthest = (actual: ArrayLike<number>, expected: readonly number[]) =>
  expected.reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i]!)), 0);
