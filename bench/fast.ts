/**
 * npm run bench fast: the quick ways to a picture at SD 1.5's full size (random F16 weights), one ControlNet, 512×512, seconds a
 * picture beside exact and beside diffusers' float32 on the same cores. TORCH_PYTHON as in full-size. 10 minutes on 2 cores.
 */
import { CONTROLNETS, writeFullSize } from "./checkpoint.ts";
import { Engine, type Wanted } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { diffusers } from "./reference.ts";
import { duration, printTable } from "./table.ts";

const DISK = 20e9;
const STEPS = 20;

const plain: Wanted = {
  model: "base",
  side: 512,
  num_inference_steps: STEPS,
  guidance_scale: 7.5,
  controls: [{ controlnet: CONTROLNETS[0]! }],
};
const cache = { method: "deepcache", interval: 3, branch: 0 } as const;

const WAYS: Readonly<Record<string, Wanted>> = {
  exact: plain,
  "cache, interval 3, branch 0": { ...plain, cache },
  "control_interval 2": { ...plain, control_interval: 2 },
  "cache, interval 3, and control_interval 2": { ...plain, cache, control_interval: 2 },
  "4 steps without guidance": { ...plain, num_inference_steps: 4, guidance_scale: 1 },
};

export async function run(): Promise<void> {
  const models = await modelsFolder("full-size", DISK, writeFullSize);
  const reference = diffusers();
  const whole = STEPS * reference.steps[1]! + reference.decode;
  console.log(`diffusers, float32, ${reference.from}: ${duration(whole)} a picture`);
  await using engine = await Engine.start(models, temporaryFolder("cache"));
  const rows: string[][] = [];
  let exact = 0;
  for (const [way, wanted] of Object.entries(WAYS)) {
    await engine.generate({ ...wanted, num_inference_steps: 4 }); // loads the networks
    const { denoiseSeconds, decodeSeconds } = await engine.generate(wanted);
    const seconds = denoiseSeconds + decodeSeconds;
    exact ||= seconds;
    const ratios = [seconds / exact, seconds / whole].map((ratio) => ratio.toFixed(2));
    rows.push([way, duration(denoiseSeconds), duration(decodeSeconds), duration(seconds), ...ratios]);
  }
  printTable(["way", "denoising", "decoding", "a picture", "of exact", "of diffusers"], rows);
}
