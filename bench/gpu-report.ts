/**
 * npm run gpu-report: what this machine's card is worth to a worker, or what keeps it from working. The provider (EXECUTION_PROVIDER,
 * else auto) and the card; in float32 and in float16 every network's error against the reference data of the tests, and evaluations
 * a second at 512×512 with 0, 1 and 2 ControlNets, in one session with the U-Net and each by itself, with the card's memory; and what did not work. MODELS_DIR names models to measure on; without it an SD 1.5 with
 * random weights is written (5.7 GB).
 */
import { join } from "node:path";
import { check } from "../check/modules.ts";
import { openLibrary } from "../workers/generate/library.ts";
import { askCard } from "../workers/runtime/cuda.ts";
import { chooseProvider } from "../workers/runtime/provider.ts";
import type { Provider } from "../workers/runtime/runtime.ts";
import { writeFullSize } from "./checkpoint.ts";
import { Engine } from "./engine.ts";
import { modelsFolder, removeTemporary, temporaryFolder } from "./folders.ts";
import { duration, median, printMachine, printTable } from "./table.ts";

const FAMILIES = ["sd15", "sd21", "sdxl"];
const STEPS = 10;
const DISK = 20e9;
/** How the ControlNets run: where they leave out the last evaluation, the U-Net is needed by itself (src/diffusion/jointly.ts). */
const WAYS = { "": {}, ", each by itself": { control_guidance_end: 0.99 } };
const failures: string[] = [];

/** Goes on with the rest of the report when a part of it fails. */
async function part(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    failures.push(`${name}: ${(error as Error).message}`);
  }
}

const card = (query: string) => askCard(query, process.env);

async function networks(on: Provider): Promise<void> {
  for (const family of FAMILIES) {
    await part(`networks of ${family} on ${on.name}`, async () => {
      const findings = await check(join(import.meta.dirname, "../test/fixtures", family), on);
      const rows = findings.map(({ subject, error, bound }) => [
        subject,
        error.toExponential(1),
        bound,
        error <= bound,
      ]);
      printTable(
        [`${family} on ${on.name}: output`, "error, relative", "bound", "within it"],
        rows.map((row) => row.map(String)),
      );
    });
  }
}

async function speed(precision: "float32" | "float16"): Promise<void> {
  const models = process.env.MODELS_DIR ?? (await modelsFolder("full-size", DISK, writeFullSize));
  const { catalog } = openLibrary(models);
  const model = catalog.models[0]?.id;
  if (model === undefined) throw new Error(`${models}: there is no model in it`);
  const fitting = catalog.controlnets.filter((one) => one.models.includes(model)).map(({ id }) => id);
  await using engine = await Engine.start(
    models,
    temporaryFolder("cache"),
    undefined,
    process.env.MODELS_DIR === undefined,
    precision,
  );
  const rows: string[][] = [];
  for (let count = 0; count <= Math.min(2, fitting.length); count++) {
    for (const [what, window] of Object.entries(count === 0 ? { "": {} } : WAYS)) {
      const controls = fitting.slice(0, count).map((controlnet) => ({ controlnet, ...window }));
      const wanted = { model, side: 512, num_inference_steps: STEPS, controls };
      await engine.generate(wanted); // loads the networks
      const { evaluations, decodeSeconds } = await engine.generate(wanted);
      const seconds = median(evaluations.slice(1, -1).map((one) => one.seconds));
      const memory = card("memory.used") ?? "no card";
      rows.push([`${count}${what}`, (1 / seconds).toFixed(2), duration(decodeSeconds), memory]);
    }
  }
  printTable([`ControlNets, ${precision}`, "evaluations a second", "decoding", "the card's memory"], rows);
}

/** What only accelerators can. */
async function inHalf(): Promise<void> {
  const { provider: half } = await chooseProvider(provider.name, "float16");
  await networks(half);
  await speed("float16");
}

printMachine();
const { provider, reason } = await chooseProvider(process.env.EXECUTION_PROVIDER ?? "auto");
process.env.EXECUTION_PROVIDER = provider.name;
console.log(`card: ${card("name,memory.total,driver_version") ?? "none that nvidia-smi knows"}`);
console.log(`computes on ${provider.name}${reason === null ? "" : `: ${reason}`}`);
await networks(provider);
await part("speed", () => speed("float32"));
if (provider.name !== "cpu") await part("float16", inHalf);
console.log(failures.length === 0 ? "\nEverything worked." : `\nDid not work:\n${failures.join("\n")}`);
removeTemporary();
process.exitCode = failures.length === 0 ? 0 : 1;
