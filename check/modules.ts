import { existsSync } from "node:fs";
import { join } from "node:path";
import { noFeatures } from "../src/diffusion/adapters/t2i-adapters.ts";
import { pooling } from "../src/diffusion/text.ts";
import { openBase, openControlNet } from "../src/models/base.ts";
import type { Network } from "../src/models/network.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { Precision } from "../src/schema/speed.ts";
import { chooseProvider } from "../workers/runtime/provider.ts";
import { openSession, type Provider } from "../workers/runtime/runtime.ts";
import type { Finding } from "./finding.ts";
import { readTensors } from "./tensors.ts";

type Tensors = Map<string, Tensor>;

/** The scale at which modules.safetensors has every ControlNet's residuals. */
const CONDITIONING_SCALE = 0.8;
const BOUND = 1e-3;
/** Of a U-Net and a ControlNet, in what they are computed in. */
const bodyBound = ({ int8, half }: Provider) => (int8 ? 8e-2 : half ? 5e-3 : BOUND);

/** The one that EXECUTION_PROVIDER and PRECISION name: so the check says what other kernels are worth. */
const { provider } = await chooseProvider(
  process.env.EXECUTION_PROVIDER ?? "cpu",
  Precision.default("float32").parse(process.env.PRECISION),
);
if (bodyBound(provider) !== BOUND) {
  console.log(`on ${provider.name}: a U-Net and a ControlNet may be ${bodyBound(provider)} off, the rest ${BOUND}`);
}

async function runOn(
  provider: Provider,
  network: Network,
  feeds: Record<string, Tensor>,
): Promise<Record<string, Tensor>> {
  const session = await openSession(network.graph(provider), provider);
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

/** ‖a − b‖ / ‖b‖, or by `floor` where ‖b‖ is less. */
export function relative(a: Tensor, b: Tensor, floor = 0): number {
  if (a.data.length !== b.data.length) {
    throw new Error(`[${a.dims}] against [${b.dims}]`);
  }
  let difference = 0;
  for (let i = 0; i < b.data.length; i++) {
    difference += (Number(a.data[i]) - Number(b.data[i])) ** 2;
  }
  const size = Math.max(norm(b), floor);
  return size === 0 ? Math.sqrt(difference) : Math.sqrt(difference) / size;
}

export function norm({ data }: Tensor): number {
  let squares = 0;
  for (const value of data) {
    squares += Number(value) ** 2;
  }
  return Math.sqrt(squares);
}

const floats = (dims: number[], value = 0): Tensor => ({
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(value),
});

/**
 * Every network alone, on the inputs of `<dir>/modules.safetensors`, against its outputs there: the folders of `dir`, or the
 * same weights opened otherwise.
 */
export async function check(
  dir: string,
  on = provider,
  base = openBase(join(dir, "base")),
  controlnet = (id: string) => openControlNet(join(dir, "controlnets", id)),
): Promise<Finding[]> {
  const expected = readTensors(join(dir, "modules.safetensors"));
  const findings: Finding[] = [];
  const run = (network: Network, feeds: Record<string, Tensor>) => runOn(on, network, feeds);
  // Text encoders and VAE are float32 in every precision.
  const compare = (name: string, actual: Tensor) =>
    findings.push({
      subject: name,
      error: relative(actual, expected.get(name)!),
      bound: /^(text|vae)/.test(name) ? BOUND : bodyBound(on),
    });

  for (const [t, { config, network }] of base.text.entries()) {
    const name = t === 0 ? "text" : `text_${t + 1}`;
    const input_ids = expected.get(`${name}.input_ids`)!;
    const ids = [...input_ids.data].map(Number);
    // As the U-Net reads it: SDXL one layer early and before the final norm.
    const layer = BigInt(config.num_hidden_layers - (base.text.length === 2 ? 1 : 0));
    const text = await run(network, {
      input_ids,
      layer: { dims: [1], data: BigInt64Array.of(layer) },
      pooling: { dims: [1, 1, ids.length], data: pooling(ids, config.eos_token_id) },
    });
    compare(`${name}.hidden`, base.text.length === 2 ? text.hidden! : text.normed!);
    if (expected.has(`${name}.pooled`)) {
      compare(`${name}.pooled`, text.text_embeds!);
    }
  }

  const z = expected.get("vae.z")!;
  compare("vae.decoded", (await run(base.networks.vae_decoder, { latents: z })).image!);
  const moments = (await run(base.networks.vae_encoder, { image: expected.get("vae.image")! })).moments!;
  const half = moments.data.length / 2; // one image: the mean's channels come first
  compare("vae.mean", { dims: expected.get("vae.mean")!.dims, data: moments.data.slice(0, half) });

  const batch = expected.get("sample")!.dims[0]!;
  const conditions = {
    sample: expected.get("sample")!,
    timestep: { dims: [batch], data: Float32Array.from(expected.get("timestep")!.data, Number) },
    encoder_hidden_states: expected.get("encoder_hidden_states")!,
    ...(expected.has("time_ids") && {
      text_embeds: expected.get("text_embeds")!,
      time_ids: expected.get("time_ids")!,
    }),
  };
  const names = residualNames(expected);
  const none = Object.fromEntries(names.map((name) => [name, floats([1, channelsOf(expected, name), 1, 1])]));
  compare("unet.out", (await run(base.networks.unet, { ...conditions, ...none, ...noFeatures(base.unet) })).out!);

  let sum: Record<string, Tensor> = none;
  for (const id of controlnets(expected)) {
    const { networks } = controlnet(id);
    const { hint_embedding } = await run(networks.hint, { hint: expected.get("hint")! });
    const feeds = {
      ...conditions,
      hint_embedding: hint_embedding!,
      rows: { dims: [batch], data: BigInt64Array.from({ length: batch }, (_, i) => BigInt(i)) },
      scales: floats([batch, names.length], CONDITIONING_SCALE),
      ...Object.fromEntries(base.unet.block_out_channels.map((_, k) => [`mask_${k}`, floats([1, 1, 1, 1], 1)])),
    };
    const alone = await run(networks.controlnet, { ...feeds, ...none });
    for (const name of names) {
      compare(`${id}.${name}`, alone[`${name}_out`]!);
    }
    if (id !== "shuffle") {
      const added = await run(networks.controlnet, { ...feeds, ...sum });
      sum = Object.fromEntries(names.map((name) => [name, added[`${name}_out`]!]));
    }
  }
  compare(
    "unet.out_with_all_but_shuffle",
    (await run(base.networks.unet, { ...conditions, ...sum, ...noFeatures(base.unet) })).out!,
  );
  return findings;
}

export const applies = (dir: string) => existsSync(join(dir, "modules.safetensors"));

const controlnets = (expected: Tensors) =>
  [...expected.keys()].filter((key) => key.endsWith(".mid_residual")).map((key) => key.split(".")[0]!);

function residualNames(expected: Tensors): string[] {
  const id = controlnets(expected)[0]!;
  const downs = [...expected.keys()].filter((key) => key.startsWith(`${id}.down_residual_`)).length;
  return [...Array.from({ length: downs }, (_, i) => `down_residual_${i}`), "mid_residual"];
}

const channelsOf = (expected: Tensors, name: string) => expected.get(`${controlnets(expected)[0]!}.${name}`)!.dims[1]!;
