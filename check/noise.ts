import { join } from "node:path";
import { NoiseGenerator } from "../src/diffusion/noise.ts";
import type { Finding } from "./finding.ts";
import { readTensors } from "./tensors.ts";

const BOUND = 2e-6;

/** Every `seed<seed>.n<count>` of `<dir>/noise.safetensors`: torch.randn(count) of a CPU generator. */
export async function check(dir: string): Promise<Finding[]> {
  return [...readTensors(join(dir, "noise.safetensors"))].map(([name, { data }]) => {
    const [, seed, count] = /^seed(\d+)\.n(\d+)$/.exec(name) ?? [];
    const normals = new NoiseGenerator(Number(seed)).normal(Number(count));
    const error = normals.reduce((most, value, k) => Math.max(most, Math.abs(value - Number(data[k]))), 0);
    return { subject: `noise ${name}`, error, bound: BOUND };
  });
}
