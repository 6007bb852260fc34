import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { noResiduals } from "../src/diffusion/control.ts";
import { clipPixels, unshuffle } from "../src/image/clip-pixels.ts";
import { decodeImage } from "../src/image/decode.ts";
import { openBase, openControlNet } from "../src/models/base.ts";
import type { ControlnetConfig } from "../src/models/config.ts";
import { residualLevels } from "../src/models/encoder.ts";
import { IMAGE_ENCODER, openImageEncoder, openIpAdapter } from "../src/models/ip-adapter.ts";
import type { Network } from "../src/models/network.ts";
import { openShelvedFile } from "../src/models/shelved-controlnet.ts";
import { openT2iAdapter, openT2iAdapterFile, UNSHUFFLE } from "../src/models/t2i-adapter.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import type { Finding } from "./finding.ts";
import { relative } from "./modules.ts";
import { readTensors } from "./tensors.ts";

const BOUND = 1e-3;

async function run(network: Network, feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> {
  const session = await openSession(network.graph(CPU), CPU);
  return session.run(feeds).finally(() => session.release());
}

/** `<dir>/ip_modules.safetensors`: the pictures `ip_adapters/preprocess_i.png` through CLIP's vision tower and each IP-Adapter. */
export async function checkIpAdapters(dir: string): Promise<Finding[]> {
  const expected = readTensors(join(dir, "ip_modules.safetensors"));
  const folder = join(dir, "ip_adapters");
  const encoder = openImageEncoder(join(folder, IMAGE_ENCODER));
  const files = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  const adapters = files.map((name) => [name.replace(".safetensors", ""), openIpAdapter(join(folder, name))] as const);
  const side = encoder.config.image_size;
  const findings: Finding[] = [];
  const compare = (subject: string, actual: Tensor) =>
    findings.push({ subject, error: relative(actual, expected.get(subject)!), bound: BOUND });
  const tokens = async (of: string, seen: Record<string, Tensor>) => {
    for (const [id, { kind, network }] of adapters) {
      const own = kind === "base" ? "image_embeds" : "penultimate";
      const made = await run(network, { [own]: seen[own]! });
      if (expected.has(`${of}.${id}.tokens`)) compare(`${of}.${id}.tokens`, made.tokens!);
    }
  };
  for (let i = 0; expected.has(`${i}.pixel_values`); i++) {
    const pixels = await decodeImage(readFileSync(join(folder, `preprocess_${i}.png`)), { maxPixels: 2 ** 24 });
    const pixel_values = { dims: [1, 3, side, side], data: clipPixels(pixels, side) };
    compare(`${i}.pixel_values`, pixel_values);
    const seen = await run(encoder.network, { pixel_values });
    compare(`${i}.image_embeds`, seen.image_embeds!);
    compare(`${i}.hidden_states_minus_2`, seen.penultimate!);
    await tokens(`${i}`, seen);
  }
  const zeros = (dims: number[]) => ({ dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) });
  const nothing = await run(encoder.network, { pixel_values: zeros([1, 3, side, side]) });
  await tokens("unconditional", { ...nothing, image_embeds: zeros([1, encoder.config.projection_dim]) });
  return findings;
}

/** `<dir>/adapter_modules.safetensors`: each T2I-Adapter's features of the picture `<id>.in`. */
export async function checkT2iAdapters(dir: string): Promise<Finding[]> {
  const expected = readTensors(join(dir, "adapter_modules.safetensors"));
  const findings: Finding[] = [];
  for (const [name, picture] of expected) {
    if (!name.endsWith(".in")) continue;
    const id = name.slice(0, -".in".length);
    const folder = join(dir, "adapters", id);
    const { config, network } = existsSync(folder)
      ? openT2iAdapter(folder)
      : openT2iAdapterFile(`${folder}.safetensors`);
    const [, ...shape] = picture.dims as [number, number, number, number];
    const unshuffled = unshuffle(picture.data as Float32Array, shape, UNSHUFFLE[config.adapter_type]);
    const features = await run(network, { unshuffled });
    for (const [i, feature] of Object.values(features).entries()) {
      const subject = `${id}.out_${i}`;
      findings.push({ subject, error: relative(feature, expected.get(subject)!), bound: BOUND });
    }
  }
  return findings;
}

/** `<dir>/union_modules.safetensors`: the Union's residuals for one hint and for two, whose types are in `<case>.control_type`. */
export async function checkUnion(dir: string): Promise<Finding[]> {
  const expected = readTensors(join(dir, "union_modules.safetensors"));
  const { config, networks } = openControlNet(join(dir, "controlnets/union"));
  const findings: Finding[] = [];
  for (const [name, scales] of Object.entries(UNION_SCALES)) {
    const control_type = expected.get(`${name}.control_type`)!;
    const types = [...control_type.data].flatMap((value, type) => (Number(value) === 0 ? [] : [type]));
    const several = scales.length > 1;
    let hint_embedding: Tensor | null = null;
    for (const [i, scale] of scales.entries()) {
      const own = await run(networks.hint, {
        hint: expected.get(`hint_${i}`)!,
        type: { dims: [1], data: BigInt64Array.of(BigInt(types[i]!)) },
        factor: { dims: [1], data: Float32Array.of(several ? scale : 1) },
      });
      hint_embedding = hint_embedding === null ? own.hint_embedding! : plus(hint_embedding, own.hint_embedding!);
    }
    const feeds = { ...controlFeeds(expected, config, several ? 1 : scales[0]!), control_type };
    const residuals = await run(networks.controlnet, { ...feeds, hint_embedding: hint_embedding! });
    for (const [subject, value] of expected) {
      if (!subject.startsWith(`${name}.`) || value === control_type) continue;
      const actual = residuals[`${subject.slice(name.length + 1)}_out`]!;
      findings.push({ subject: `union ${subject}`, error: relative(actual, value), bound: BOUND });
    }
  }
  return findings;
}

/** The scales that the cases of union_modules.safetensors were made with, in the order of their types. */
const UNION_SCALES = { one: [0.8], two: [0.8, 0.5] };

const filled = (dims: readonly number[], value: number): Tensor => ({
  dims: [...dims],
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(value),
});

const plus = (a: Tensor, b: Tensor): Tensor => ({
  dims: a.dims,
  data: (a.data as Float32Array).map((value, i) => value + (b.data as Float32Array)[i]!),
});

/** What a ControlNet's body is told beside its hint, on the inputs of a file of modules. */
function controlFeeds(inputs: Map<string, Tensor>, config: ControlnetConfig, scale: number): Record<string, Tensor> {
  const rows = inputs.get("sample")!.dims[0]!;
  const { data: timestep } = inputs.get("timestep")!;
  const of = (name: string) => (inputs.has(name) ? { [name]: inputs.get(name)! } : {});
  return {
    ...of("sample"),
    timestep: { dims: [rows], data: Float32Array.from({ length: rows }, (_, i) => Number(timestep[i] ?? timestep[0])) },
    ...of("encoder_hidden_states"),
    ...of("text_embeds"),
    ...of("time_ids"),
    rows: { dims: [rows], data: BigInt64Array.from({ length: rows }, (_, i) => BigInt(i)) },
    scales: filled([rows, residualLevels(config).length], scale),
    ...Object.fromEntries(config.block_out_channels.map((_, k) => [`mask_${k}`, filled([1, 1, 1, 1], 1)])),
    ...noResiduals(config),
  };
}

/** What the residuals of control_lora_modules.safetensors were made at. */
const CONTROL_LORA_SCALE = 0.8;

/**
 * `<dir>/control_lora_modules.safetensors`: the residuals of each Control-LoRA `<dir>/controlnets/<id>.safetensors` beside `<dir>/base`,
 * on the inputs of `<dir>/modules.safetensors`.
 */
export async function checkControlLora(dir: string): Promise<Finding[]> {
  const expected = readTensors(join(dir, "control_lora_modules.safetensors"));
  const inputs = readTensors(join(dir, "modules.safetensors"));
  const base = openBase(join(dir, "base"));
  const findings: Finding[] = [];
  for (const id of new Set([...expected.keys()].map((name) => name.split(".")[0]!))) {
    const { config, networks } = openShelvedFile(join(dir, `controlnets/${id}.safetensors`)).on(base);
    const { hint_embedding } = await run(networks.hint, { hint: inputs.get("hint")! });
    const feeds = controlFeeds(inputs, config, CONTROL_LORA_SCALE);
    const residuals = await run(networks.controlnet, { ...feeds, hint_embedding: hint_embedding! });
    for (const [subject, value] of expected) {
      if (!subject.startsWith(`${id}.`)) continue;
      const actual = residuals[`${subject.slice(id.length + 1)}_out`]!;
      findings.push({ subject, error: relative(actual, value), bound: BOUND });
    }
  }
  return findings;
}
