/**
 * Seconds a training step, beside torch's: npm run bench train. TORCH_PYTHON names a Python with torch and diffusers to measure
 * beside; without it, the figures recorded below stand for it.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readCheckpoint } from "../src/models/checkpoint.ts";
import { clipConfig, controlnetConfig, parseConfig, unetConfig } from "../src/models/config.ts";
import { StoredWeights } from "../src/models/weights.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { clipShapes, controlnetFrom, initialize, unetShapes } from "../src/training/initialize.ts";
import { baseStep, controlnetStep } from "../src/training/loss.ts";
import { writeSafetensors } from "../src/training/stored.ts";
import { joinBlocks } from "../workers/train/base.ts";
import { configFor } from "../workers/train/controlnet.ts";
import { Stepper, startState } from "../workers/train/step.ts";
import { temporaryFolder } from "./folders.ts";
import { gb, median, printTable } from "./table.ts";

interface Case {
  readonly unet: Record<string, unknown> & { readonly cross_attention_dim: number };
  readonly batch: number;
  /** Latent cells of a side. */
  readonly cells: number;
  /** Seconds a step of torch 2.13 with 2 threads, on 2 cores of Zen 5. */
  readonly recorded: Readonly<Record<Kind, number>>;
}
const KINDS = ["controlnet", "base"] as const;
type Kind = (typeof KINDS)[number];

const CASES: Record<string, Case> = {
  fixture: {
    unet: { block_out_channels: [16, 32, 32, 32], cross_attention_dim: 32, attention_head_dim: 4, norm_num_groups: 8 },
    batch: 2,
    cells: 8,
    recorded: { controlnet: 0.43, base: 0.15 },
  },
  demo: {
    unet: { block_out_channels: [32, 64, 96, 96], cross_attention_dim: 64, attention_head_dim: 4, norm_num_groups: 8 },
    batch: 32,
    cells: 16,
    recorded: { controlnet: 2.2, base: 0.74 },
  },
  middle: {
    unet: {
      block_out_channels: [64, 128, 256, 256],
      cross_attention_dim: 256,
      attention_head_dim: 8,
      norm_num_groups: 32,
    },
    batch: 4,
    cells: 32,
    recorded: { controlnet: 3.4, base: 1.7 },
  },
};
const TOKENS = 77;
/** The first is not counted, and the median is one of the others. */
const STEPS = 8;
const OPTIMIZER = { learning_rate: 1e-5, adam_weight_decay: 0.01, max_grad_norm: 1, ema_decay: 0 };

interface Measurement {
  readonly parameters: number;
  readonly seconds: number;
  readonly peakBytes: number;
}

const random = (...dims: number[]): Tensor => ({
  dims,
  data: Float32Array.from({ length: dims.reduce((product, dim) => product * dim, 1) }, () => Math.random() - 0.5),
});
const shapesOf = (tensors: ReadonlyMap<string, Tensor>) =>
  new Map([...tensors].map(([name, { dims }]) => [name, dims]));

function openCase({ unet: raw, batch, cells }: Case, kind: Kind, folder: string) {
  const unet = parseConfig(unetConfig, raw, "unet");
  const base = initialize(unetShapes(unet), 1);
  const size = (rows: number) => ({ batch: rows, height: cells, width: cells });
  if (kind === "base") {
    const text = { hidden_size: raw.cross_attention_dim, intermediate_size: 4 * raw.cross_attention_dim };
    const clip = parseConfig(
      clipConfig,
      { ...text, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 1000 },
      "",
    );
    const all = joinBlocks({ unet: base, text_encoder: initialize(clipShapes(clip), 2) });
    const shapes = shapesOf(all.tensors);
    const graph = (rows: number) => ({ bytes: baseStep(unet, clip, shapes, size(rows), "epsilon"), folder });
    const ids = BigInt64Array.from({ length: batch * TOKENS }, (_, i) => BigInt(i % 1000));
    return { parameters: all, graph, own: { input_ids: { dims: [batch, TOKENS], data: ids } } };
  }
  const file = join(folder, "unet.safetensors");
  writeSafetensors(file, base.tensors, "F32");
  const config = parseConfig(controlnetConfig, configFor(raw), "controlnet");
  const parameters = controlnetFrom(base, config, 2);
  const { tensors } = readCheckpoint(file);
  const shapes = shapesOf(parameters.tensors);
  const graph = (rows: number) => {
    const locked = new StoredWeights(tensors);
    return { bytes: controlnetStep(locked, unet, config, shapes, size(rows), "epsilon"), folder };
  };
  const own = {
    encoder_hidden_states: random(batch, TOKENS, raw.cross_attention_dim),
    hint: random(batch, 3, 8 * cells, 8 * cells),
  };
  return { parameters, graph, own };
}

async function measure(one: Case, kind: Kind): Promise<Measurement> {
  const { parameters, graph, own } = openCase(one, kind, temporaryFolder("train"));
  const stepper = await Stepper.open(graph, one.batch, startState(parameters, OPTIMIZER));
  const latents = [one.batch, 4, one.cells, one.cells] as const;
  const feeds = {
    ...own,
    latents: random(...latents),
    noise: random(...latents),
    alpha: random(one.batch, 1, 1, 1),
    sigma: random(one.batch, 1, 1, 1),
    timestep: random(one.batch),
  };
  const times: number[] = [];
  for (let step = 1; step <= STEPS; step++) {
    const start = performance.now();
    await stepper.accumulate(feeds);
    stepper.update(step, OPTIMIZER);
    times.push((performance.now() - start) / 1000);
  }
  await stepper.release();
  const peak = Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
  return { parameters: parameters.data.length, seconds: median(times.slice(1)), peakBytes: peak };
}

/** The same step in torch: the networks by diffusers, torch.optim.AdamW, 2 threads. */
const TORCH = `
import sys, json, time, statistics, resource, torch
from diffusers import UNet2DConditionModel, ControlNetModel
case, kind = json.loads(sys.argv[1]), sys.argv[2]
torch.set_num_threads(2)
B, S, D = case["batch"], case["cells"], case["unet"]["cross_attention_dim"]
unet = UNet2DConditionModel(**case["unet"])
parts = [unet]
if kind == "controlnet":
    control = ControlNetModel.from_unet(unet); unet.requires_grad_(False); parts = [control]
    text = lambda: states
    states = torch.randn(B, 77, D)
else:
    from transformers import CLIPTextModel, CLIPTextConfig
    clip = CLIPTextModel(CLIPTextConfig(hidden_size=D, intermediate_size=4 * D, num_hidden_layers=2, num_attention_heads=4, vocab_size=1000))
    parts.append(clip); ids = torch.randint(0, 1000, (B, 77)); text = lambda: clip(ids)[0]
weights = [p for part in parts for p in part.parameters()]
optimizer = torch.optim.AdamW(weights, lr=1e-5)
x, noise, t = torch.randn(B, 4, S, S), torch.randn(B, 4, S, S), torch.randint(0, 1000, (B,))
hint, times = torch.rand(B, 3, 8 * S, 8 * S), []
for _ in range(${STEPS}):
    start = time.time()
    e, extra = text(), {}
    if kind == "controlnet":
        down, mid = control(x + noise, t, e, controlnet_cond=hint, return_dict=False)
        extra = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
    loss = ((unet(x + noise, t, e, **extra).sample - noise) ** 2).mean()
    loss.backward(); torch.nn.utils.clip_grad_norm_(weights, 1.0); optimizer.step(); optimizer.zero_grad()
    times.append(time.time() - start)
print(json.dumps(dict(seconds=statistics.median(times[1:]), peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))
`;

function measureTorch(one: Case, kind: Kind): { seconds: number; from: string } {
  const python = process.env.TORCH_PYTHON;
  if (python === undefined) {
    return { seconds: one.recorded[kind], from: "recorded" };
  }
  const printed = execFileSync(python, ["-c", TORCH, JSON.stringify(one), kind], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return { seconds: JSON.parse(printed.trim().split("\n").at(-1)!).seconds, from: "beside" };
}

const round = (value: number) => value.toPrecision(3);

export async function run(): Promise<void> {
  const steps: string[][] = [];
  const ratios: string[][] = [];
  for (const [name, one] of Object.entries(CASES)) {
    const own = {} as Record<Kind, Measurement>;
    for (const kind of KINDS) {
      // A process of its own, so that its peak memory is its own.
      own[kind] = JSON.parse(execFileSync(process.execPath, [import.meta.filename, name, kind], { encoding: "utf8" }));
      const { parameters, seconds, peakBytes } = own[kind];
      const torch = measureTorch(one, kind);
      const beside = [`${round(torch.seconds)} (${torch.from})`, round(seconds / torch.seconds)];
      steps.push([name, kind, `${(parameters / 1e6).toFixed(1)} M`, round(seconds), ...beside, gb(peakBytes)]);
    }
    const { controlnet, base } = own;
    ratios.push([name, round(controlnet.seconds / base.seconds), round(controlnet.peakBytes / base.peakBytes)]);
  }
  printTable(["net", "trains", "parameters", "s/step", "torch", "÷ torch", "peak memory"], steps);
  printTable(["a ControlNet's step ÷ the base's", "time", "memory"], ratios);
}

const [name, kind] = process.argv.slice(2);
if (import.meta.main && name !== undefined && kind !== undefined) {
  process.stdout.write(JSON.stringify(await measure(CASES[name]!, kind as Kind)));
}
