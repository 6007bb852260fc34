/**
 * npm run bench sdxl: SDXL of full size and one ControlNet, single files with the released names and shapes and random F16
 * weights, through the real engine with guidance: at 1024×1024, or the largest of SIDES that memory allows. Text towers and VAE
 * stay mapped from the cache beside the U-Net, which costs no private memory: the system may drop their pages. 10 minutes on 2
 * cores, 70 GB of disk.
 */
import { join } from "node:path";
import { openLibrary } from "../workers/generate/library.ts";
import { writeSingleFile } from "./checkpoint.ts";
import { Engine, type Stage, whole } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { duration, gb, printTable } from "./table.ts";

const DISK = 70e9;
const SIDES = [1024, 768, 512];
/** The first evaluation has the load in it, the second has the ControlNet, the third is outside its window. */
const EVALUATIONS = 3;
const CONTROL = { controlnet: "a", control_guidance_end: 2 / EVALUATIONS };

function tellWeights(models: string): void {
  const library = openLibrary(models);
  const base = library.models.get("base")!;
  const { text, networks } = base;
  const parts = {
    ...Object.fromEntries(text.map(({ network }, i) => [`text encoder ${i + 1}`, network])),
    "U-Net": networks.unet,
    ControlNet: library.controlnets.get("a")!.on(base).networks.controlnet,
    "VAE decoder": networks.vae_decoder,
  };
  printTable(
    ["network", "float32 weights"],
    Object.entries(parts).map(([name, { weightBytes }]) => [name, gb(weightBytes)]),
  );
}

/** At the smallest size, so that what is seen is the load. */
async function prepare(models: string, cache: string): Promise<void> {
  await using engine = await Engine.start(models, cache);
  const small = { model: "base", side: 64, num_inference_steps: 1, controls: [{ controlnet: "a" }] };
  const made = await engine.generate(small);
  const [took, peak] = [duration(made.loadSeconds), gb(whole(made).peakBytes)];
  console.log(`\nPrepared for the first time in ${took}, with ${peak} of private memory at most.`);
}

/** @throws Error when memory does not suffice */
async function measure(models: string, cache: string, side: number): Promise<void> {
  await using engine = await Engine.start(models, cache);
  const wanted = { model: "base", side, num_inference_steps: EVALUATIONS, controls: [CONTROL] };
  const { loadSeconds, encodeSeconds, decodeSeconds, evaluations, decoding } = await engine.generate(wanted);
  const [first, controlled, alone] = evaluations as [Stage, Stage, Stage];
  const line = (what: string, { seconds, peakBytes, readBytes }: Stage) => [
    what,
    duration(seconds),
    gb(peakBytes),
    gb(readBytes),
  ];
  printTable(
    [`${side}×${side}, guidance`, "time", "peak private memory", "read from the disk"],
    [
      line("first step, with all that comes before it", first),
      line("step with one ControlNet", controlled),
      line("step without", alone),
      line("VAE, with its load", decoding),
    ],
  );
  const within = { "loading from the cache": loadSeconds, "text and hint": encodeSeconds, "VAE alone": decodeSeconds };
  const told = Object.entries(within).map(([what, taken]) => `${what} ${duration(taken)}`);
  console.log(`\nWithin these: ${told.join(", ")}.`);
  console.log(`With ÷ without a ControlNet: ${(controlled.seconds / alone.seconds).toFixed(2)}.`);
  console.log(`Mapped files at the end: ${gb(engine.memory("RssFile"))}.`);
}

export async function run(): Promise<void> {
  const models = await modelsFolder("sdxl", DISK, async (folder) => {
    await writeSingleFile(join(folder, "base.safetensors"), "sdxl");
    await writeSingleFile(join(folder, "controlnets/a.safetensors"), "controlnet-sdxl");
  });
  const cache = temporaryFolder("cache");
  tellWeights(models);
  await prepare(models, cache);
  for (const side of SIDES) {
    try {
      return await measure(models, cache, side);
    } catch (error) {
      console.log(`\n${side}×${side}: ${(error as Error).message}`);
    }
  }
  throw new Error("memory suffices for none of these sizes");
}
