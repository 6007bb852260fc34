/** What diffusers takes for the same on the same cores. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** diffusers 0.40, torch 2.13, float32, on 2 cores of Zen 5: seconds a step with 0, 1 and 2 ControlNets, and the decode. */
const RECORDED = { steps: [7.3, 10.2, 13.0], decode: 10.1 };

/** Seconds a step with 0, 1 and 2 ControlNets, and of the decode: of TORCH_PYTHON's diffusers, run now; without it as recorded. */
export function diffusers(): { steps: number[]; decode: number; from: string } {
  const python = process.env.TORCH_PYTHON;
  if (python === undefined) {
    return { ...RECORDED, from: "recorded on another machine" };
  }
  const printed = execFileSync(python, [join(import.meta.dirname, "reference.py")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return { ...JSON.parse(printed.trim().split("\n").at(-1)!), from: "beside" };
}
