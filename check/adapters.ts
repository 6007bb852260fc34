import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { clipPixels, unshuffle } from "../src/image/clip-pixels.ts";
import { decode } from "../src/image/decode.ts";
import { IMAGE_ENCODER, openImageEncoder, openIpAdapter } from "../src/models/ip-adapter.ts";
import type { Network } from "../src/models/network.ts";
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
    const pixels = await decode(readFileSync(join(folder, `preprocess_${i}.png`)), { maxPixels: 2 ** 24 });
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
