/** Where the time of a U-Net's evaluation goes, by onnxruntime's profiler. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { noResiduals } from "../src/diffusion/control.ts";
import { openLibrary } from "../workers/library.ts";
import { CPU, openSession } from "../workers/runtime.ts";
import { temporaryFolder } from "./folders.ts";
import { duration, printTable } from "./table.ts";

/** One of the profile's events, as Chrome's tracing has them; `dur` in microseconds. */
interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

const ROWS = 2;
const CELL = 8;
/** Operators with a smaller share are told together. */
const SMALL = 0.01;

/** @param side pixels of a picture, computed with guidance */
export async function tellOperators(models: string, side: number): Promise<void> {
  const { unet: config, networks } = openLibrary(models).models.get("base")!;
  const folder = temporaryFolder("profile");
  const options = { ...CPU.options, enableProfiling: true, profileFilePrefix: join(folder, "unet") };
  const session = await openSession(networks.unet.graph(CPU), { ...CPU, options });
  const wave = (dims: readonly number[]) => ({
    dims,
    data: Float32Array.from({ length: dims.reduce((product, dim) => product * dim) }, (_, i) => Math.sin(i)),
  });
  await session.run({
    sample: wave([ROWS, config.in_channels, side / CELL, side / CELL]),
    timestep: { dims: [ROWS], data: new Float32Array(ROWS).fill(500) },
    encoder_hidden_states: wave([ROWS, 77, config.cross_attention_dim]),
    ...noResiduals(config),
  });
  await session.release(); // writes the profile

  const [file] = readdirSync(folder) as [string];
  const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as TraceEvent[];
  const spent = new Map<string, number>();
  for (const { cat, name, dur, args } of events) {
    if (cat === "Node" && name.endsWith("_kernel_time")) {
      spent.set(args!.op_name!, (spent.get(args!.op_name!) ?? 0) + dur);
    }
  }
  const total = [...spent.values()].reduce((sum, time) => sum + time);
  const large = [...spent].filter(([, time]) => time >= SMALL * total).sort((a, b) => b[1] - a[1]);
  const rest = total - large.reduce((sum, [, time]) => sum + time, 0);
  printTable(
    ["operators of a U-Net's evaluation", "time", "share"],
    [...large, ["all others", rest] as const].map(([name, time]) => [
      name,
      duration(time / 1e6),
      `${((100 * time) / total).toFixed(0)} %`,
    ]),
  );
}
