/**
 * npm run check -- DIR: compares this project with reference data in DIR or in its subfolders, made like test/fixtures.
 * Prints `subject  error  ok|short`, one line a subject; exits 1 when one is short.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { checkControlLora, checkIpAdapters, checkT2iAdapters, checkUnion } from "./adapters.ts";
import { check as annotatorNetworks } from "./annotator-networks.ts";
import { check as annotators } from "./annotators.ts";
import type { Finding } from "./finding.ts";
import { check as modules } from "./modules.ts";
import { check as noise } from "./noise.ts";
import { check as poses } from "./poses.ts";
import { check as safety } from "./safety.ts";
import { check as samplers } from "./samplers.ts";
import { check as tokens } from "./tokens.ts";
import { check as training } from "./training.ts";

/** The file that says that a check applies to its folder. */
const CHECKS: Record<string, (dir: string) => Promise<Finding[]>> = {
  "noise.safetensors": noise,
  "tokens.json": tokens,
  "samplers.safetensors": samplers,
  "samplers2.safetensors": (dir) => samplers(dir, "samplers2"),
  "modules.safetensors": modules,
  "training.safetensors": training,
  "ip_modules.safetensors": checkIpAdapters,
  "adapter_modules.safetensors": checkT2iAdapters,
  "union_modules.safetensors": checkUnion,
  "control_lora_modules.safetensors": checkControlLora,
  "safety_checker/expected.safetensors": safety,
  "cases.json": annotators,
  "pose.json": poses,
  "neural.json": annotatorNetworks,
};

const dir = process.argv[2];
if (dir === undefined || !existsSync(dir)) {
  console.error(dir === undefined ? "usage: npm run check -- DIR" : `${dir}: no such folder`);
  process.exit(2);
}
const subfolders = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
let [checked, short] = [0, 0];
function report(folder: string, subject: string, result: string, ok: boolean): void {
  console.log(`${folder === "" ? subject : `${folder} ${subject}`}  ${result}  ${ok ? "ok" : "short"}`);
  checked += 1;
  short += ok ? 0 : 1;
}
for (const folder of ["", ...subfolders.map(({ name }) => name)]) {
  for (const [file, check] of Object.entries(CHECKS)) {
    if (!existsSync(join(dir, folder, file))) continue;
    try {
      for (const { subject, error, bound } of await check(join(dir, folder))) {
        report(folder, subject, error.toExponential(2), error <= bound);
      }
    } catch (error) {
      report(folder, file, error instanceof Error ? error.message : String(error), false);
    }
  }
}
if (checked === 0) console.error(`${dir}: nothing to check here; looked for ${Object.keys(CHECKS).join(", ")}`);
else if (short > 0) console.error(`${short} of ${checked} short`);
process.exitCode = checked === 0 || short > 0 ? 1 : 0;
