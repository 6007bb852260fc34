/**
 * npm run bench savings: what is saved by not running what a picture does not need, and by keeping what was computed once: an
 * SD 1.5 half as wide as the released one, random F16 weights, with one ControlNet at 256×256. 2 minutes on 2 cores, 5 GB of disk.
 */
import { writeSd15 } from "./checkpoint.ts";
import { Engine, type Made, type Wanted } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { duration, median, printTable } from "./table.ts";

const DISK = 5e9;
const ROUNDS = 3;
const PLAIN = { model: "base", side: 256, num_inference_steps: 4 };
const ALWAYS: Wanted = { ...PLAIN, controls: [{ controlnet: "a" }] };

/** What is not run, each against ALWAYS. */
const SKIPPED: Readonly<Record<string, Wanted>> = {
  "ControlNet in the first half of the evaluations": {
    ...PLAIN,
    controls: [{ controlnet: "a", control_guidance_end: 0.5 }],
  },
  "ControlNet at scale 0": { ...PLAIN, controls: [{ controlnet: "a", conditioning_scale: 0 }] },
  "no ControlNet": PLAIN,
  "guess mode: ControlNet on half of the batch": { ...ALWAYS, guess_mode: true },
  "guidance off: one row for both networks": { ...ALWAYS, guidance_scale: 1 },
};

const against = (what: string, value: number, whole: number) => [
  what,
  duration(value),
  duration(whole),
  (value / whole).toFixed(2),
];

async function skipping(engine: Engine): Promise<void> {
  const times = new Map<string, number[]>();
  // In turns, so that what else the machine does meets all of them.
  for (let round = 0; round < ROUNDS; round++) {
    for (const [what, wanted] of Object.entries({ always: ALWAYS, ...SKIPPED })) {
      times.set(what, [...(times.get(what) ?? []), (await engine.generate(wanted)).denoiseSeconds]);
    }
  }
  const always = median(times.get("always")!);
  printTable(
    [`not run (${PLAIN.num_inference_steps} evaluations)`, "denoising", "with one ControlNet always", "÷"],
    Object.keys(SKIPPED).map((what) => against(what, median(times.get(what)!), always)),
  );
}

/** Prompts and hints through their encoders: each seen before, and new. */
async function memo(engine: Engine): Promise<void> {
  const one = { ...PLAIN, num_inference_steps: 1 };
  const encoding = async (wanted: (i: number) => Wanted) => {
    const made: Made[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      made.push(await engine.generate(wanted(round)));
    }
    return median(made.map(({ encodeSeconds }) => encodeSeconds));
  };
  const prompt = (i: number) => ({ ...one, prompt: `house ${i}` });
  const hint = (i: number) => ({ ...one, controls: [{ controlnet: "a", stripes: 8 + i }] });
  const fresh = { prompt: await encoding(prompt), hint: await encoding(hint) };
  printTable(
    ["encoded once", "seen before", "new", "÷"],
    [
      against("prompt", await encoding(prompt), fresh.prompt),
      against("control image, its reading and resizing included", await encoding(hint), fresh.hint),
    ],
  );
}

/** Seconds that the first generation of a new process loads. */
async function loading(models: string, cache: string): Promise<number> {
  await using engine = await Engine.start(models, cache);
  return (await engine.generate(ALWAYS)).loadSeconds;
}

export async function run(): Promise<void> {
  const models = await modelsFolder("sd15-half", DISK, (folder) => writeSd15(folder, ["a"], 1 / 2));
  const cache = temporaryFolder("cache");
  const first = await loading(models, cache);
  await using engine = await Engine.start(models, cache);
  const { loadSeconds } = await engine.generate(ALWAYS);
  await skipping(engine);
  await memo(engine);
  printTable(
    ["loaded", "from the cache", "for the first time", "÷"],
    [against("base and one ControlNet", loadSeconds, first)],
  );
}
