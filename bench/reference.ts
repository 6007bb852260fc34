/** What diffusers takes for the same on the same cores. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** diffusers 0.40, torch 2.13, float32, on 2 cores of Zen 5: seconds a step with 0, 1 and 2 ControlNets, and the decode. */
const RECORDED = { steps: [7.3, 10.2, 13.0], decode: 10.1 };

/** Seconds a step with 0, 1 and 2 ControlNets, and of the decode. */
export interface Reference {
  steps: number[];
  decode: number;
}

/** Of TORCH_PYTHON's diffusers, run now; null without it. */
export function diffusersNow(precision: "float32" | "bfloat16"): Reference | null {
  const python = process.env.TORCH_PYTHON;
  if (python === undefined) return null;
  const printed = execFileSync(python, [join(import.meta.dirname, "reference.py"), precision], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(printed.trim().split("\n").at(-1)!);
}

/** In float32: run now, or as recorded. */
export function diffusers(): Reference & { from: string } {
  const now = diffusersNow("float32");
  return now === null ? { ...RECORDED, from: "recorded on another machine" } : { ...now, from: "beside" };
}
