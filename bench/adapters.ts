/**
 * npm run bench adapters: what LoRA, IP-Adapter and ControlNet-Union cost at SD 1.5's full size (random F16 weights), 256×256, with
 * guidance, as time and as time of the processor; and what ten LoRA in a row leave in memory and on disk. 7 minutes on 2 cores.
 */
import { readdirSync } from "node:fs";
import { writeAdapters } from "./adapter-files.ts";
import { Engine, type Wanted, whole } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { duration, median, printTable } from "./table.ts";

const DISK = 25e9;
const ROUNDS = 2;
const LORAS = 10;
const RANK = 64;

const plain: Wanted = { model: "base", side: 256, num_inference_steps: 3, guidance_scale: 7.5 };
const canny: Wanted = { ...plain, controls: [{ controlnet: "a" }] };

/** What is measured, and against what. */
const STEPS: Readonly<Record<string, readonly [wanted: Wanted, against: Wanted]>> = {
  [`one LoRA of rank ${RANK}`]: [{ ...plain, loras: [{ lora: "lora-0" }] }, plain],
  "one IP-Adapter": [{ ...plain, ip_adapters: [{ ip_adapter: "ip" }] }, plain],
  "a Union with two types": [
    {
      ...plain,
      controls: [0, 3].map((control_type) => ({ controlnet: "union", control_type, stripes: 8 + control_type })),
    },
    canny,
  ],
};

interface Taken {
  readonly wall: number[];
  readonly cpu: number[];
}

/** Adds the evaluations of a generation but for the first, with which it loads. */
async function measure(engine: Engine, wanted: Wanted, taken: Map<Wanted, Taken>): Promise<void> {
  const own = taken.get(wanted) ?? { wall: [], cpu: [] };
  taken.set(wanted, own);
  for (const { seconds, cpuSeconds } of (await engine.generate(wanted)).evaluations.slice(1)) {
    own.wall.push(seconds);
    own.cpu.push(cpuSeconds);
  }
}

/** In turns, so that what else the machine does meets all of them. */
async function steps(engine: Engine): Promise<void> {
  const taken = new Map<Wanted, Taken>();
  const all = new Set(Object.values(STEPS).flat());
  for (let round = 0; round < ROUNDS; round++) {
    for (const wanted of all) await measure(engine, wanted, taken);
  }
  printTable(
    ["a step with", "it takes", "without, or with a plain ControlNet", "÷", "÷, time of the processor"],
    Object.entries(STEPS).map(([what, [wanted, against]]) => {
      const [own, other] = [taken.get(wanted)!, taken.get(against)!];
      const [mine, theirs] = [median(own.wall), median(other.wall)];
      const ratio = median(own.cpu) / median(other.cpu);
      return [what, duration(mine), duration(theirs), (mine / theirs).toFixed(3), ratio.toFixed(3)];
    }),
  );
}

const one = { ...plain, num_inference_steps: 1 };
const withLora = (i: number) => ({ ...one, prompt: `a house in snow ${i}`, loras: [{ lora: `lora-${i}` }] });

/** The first LoRA of an engine that had no quiet second to make its form ready. */
async function atOnce(engine: Engine): Promise<void> {
  await engine.generate({ ...one, prompt: "a house in fog" });
  const without = whole(await engine.generate({ ...one, prompt: "a house in rain" }));
  const first = whole(await engine.generate(withLora(0)));
  const [wall, cpu] = [first.seconds - without.seconds, first.cpuSeconds - without.cpuSeconds].map(duration);
  console.log(`\nAfter one generation upon another, the first LoRA takes ${wall} longer, ${cpu} of the processor.`);
}

/** Each LoRA is new to the engine, and so is each prompt. */
async function tenLoras(engine: Engine, cache: string): Promise<void> {
  const seen = async (wanted: Wanted) => whole(await engine.generate(wanted));
  await seen({ ...one, prompt: "a house in fog" });
  const without = await seen({ ...one, prompt: "a house in rain" });
  const files = () => readdirSync(cache, { recursive: true }).length;
  const before = { files: files(), memory: engine.memory("RssAnon") };
  await engine.rest();
  const rows: (string | number)[][] = [];
  const more = () => `${((engine.memory("RssAnon") - before.memory) / 1e6).toFixed(0)} MB`;
  for (let i = 0; i < LORAS; i++) {
    const { seconds, cpuSeconds } = await seen(withLora(i));
    const times = [seconds - without.seconds, cpuSeconds - without.cpuSeconds].map(duration);
    rows.push([i + 1, ...times, more(), files() - before.files]);
  }
  await engine.rest();
  console.log(`\nWithout LoRA a generation of one step takes ${duration(without.seconds)}.`);
  printTable(["LoRA", "longer by", "of the processor", "private memory more", "files more in the cache"], rows);
  console.log(`\nAt rest after them there are ${more()} of private memory more.`);
}

export async function run(): Promise<void> {
  const models = await modelsFolder("adapters", DISK, (folder) => writeAdapters(folder, RANK, LORAS));
  const cache = temporaryFolder("cache");
  {
    await using engine = await Engine.start(models, cache);
    for (const wanted of [plain, canny, STEPS["a Union with two types"]![0]]) {
      await engine.generate({ ...wanted, num_inference_steps: 1 }); // fills the cache
    }
    await atOnce(engine);
  }
  await using engine = await Engine.start(models, cache);
  await tenLoras(engine, cache);
  await steps(engine);
}
