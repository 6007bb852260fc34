/** Where the time of an evaluation goes, by onnxruntime's profiler. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { noFeatures } from "../src/diffusion/adapters/t2i-adapters.ts";
import { noResiduals } from "../src/diffusion/control.ts";
import { fill } from "../src/diffusion/rows.ts";
import { skipChannels } from "../src/models/encoder.ts";
import type { Network } from "../src/models/network.ts";
import { CELL } from "../src/models/vae.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { openLibrary } from "../workers/generate/library.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
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
/** Operators with a smaller share are told together. */
const SMALL = 0.01;

const wave = (dims: readonly number[]): Tensor => ({
  dims,
  data: Float32Array.from({ length: dims.reduce((product, dim) => product * dim) }, (_, i) => Math.sin(i)),
});

/** Profiles one run of a network. @returns microseconds by operator */
async function profile(network: Network, feeds: Readonly<Record<string, Tensor>>): Promise<Map<string, number>> {
  const folder = temporaryFolder("profile");
  const options = { ...CPU.options, enableProfiling: true, profileFilePrefix: join(folder, "network") };
  const session = await openSession(network.graph(CPU), { ...CPU, options });
  await session.run(feeds);
  await session.release(); // writes the profile

  const [file] = readdirSync(folder) as [string];
  const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as TraceEvent[];
  const spent = new Map<string, number>();
  for (const { cat, name, dur, args } of events) {
    if (cat === "Node" && name.endsWith("_kernel_time")) {
      spent.set(args!.op_name!, (spent.get(args!.op_name!) ?? 0) + dur);
    }
  }
  return spent;
}

function tell(what: string, spent: ReadonlyMap<string, number>): void {
  const total = [...spent.values()].reduce((sum, time) => sum + time);
  const large = [...spent].filter(([, time]) => time >= SMALL * total).sort((a, b) => b[1] - a[1]);
  const rest = total - large.reduce((sum, [, time]) => sum + time, 0);
  printTable(
    [`operators of ${what}'s evaluation`, "time", "share"],
    [...large, ["all others", rest] as const].map(([name, time]) => [
      name,
      duration(time / 1e6),
      `${((100 * time) / total).toFixed(0)} %`,
    ]),
  );
}

/** The U-Net's and a ControlNet's. @param side pixels of a picture, computed with guidance */
export async function tellOperators(models: string, controlnet: string, side: number): Promise<void> {
  const library = openLibrary(models);
  const base = library.models.get("base")!;
  const { unet: config, networks } = base;
  const control = library.controlnets.get(controlnet)!.on(base);
  const cells = side / CELL;
  const width = config.block_out_channels[0]!;
  const common = {
    sample: wave([ROWS, config.out_channels, cells, cells]),
    timestep: { dims: [ROWS], data: new Float32Array(ROWS).fill(500) },
    encoder_hidden_states: wave([ROWS, 77, config.cross_attention_dim]),
    ...noResiduals(config),
  };
  const masks = config.block_out_channels.map((_, k) => [`mask_${k}`, fill([1, 1, 1, 1], 1)] as const);
  tell("a U-Net", await profile(networks.unet, { ...common, ...noFeatures(config) }));
  tell(
    "a ControlNet",
    await profile(control.networks.controlnet, {
      ...common,
      ...Object.fromEntries(masks),
      hint_embedding: wave([1, width, cells, cells]),
      rows: { dims: [ROWS], data: BigInt64Array.of(0n, 1n) },
      scales: fill([ROWS, skipChannels(config).length + 1], 1),
    }),
  );
}
