/** A MODELS_DIR with adapters laid into it, and the cases of their folder: pictures that diffusers (or torch) makes with them. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { readTensors } from "../../check/tensors.ts";
import { decodeImage } from "../../src/image/decode.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const SHELVES = ["loras", "embeddings", "ip_adapters", "adapters", "controlnets"];

/** The model of a case: one of its own where it brings a scheduler's config. */
const modelOf = (dir: string, name: string) => (existsSync(join(dir, "scheduler_config.json")) ? name : "base");

function linkAll(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of existsSync(from) ? readdirSync(from) : []) symlinkSync(join(from, name), join(to, name));
}

/**
 * @param models an empty folder
 * @param adapters a folder of shelves and cases for a family
 */
export function layModels(models: string, family: string, adapters: string): void {
  const base = join(FIXTURES, family);
  symlinkSync(join(base, "base"), join(models, "base"));
  linkAll(join(base, "controlnets"), join(models, "controlnets"));
  for (const shelf of SHELVES) linkAll(join(adapters, shelf), join(models, shelf));
  for (const name of readdirSync(join(adapters, "cases"))) {
    const dir = join(adapters, "cases", name);
    if (modelOf(dir, name) === "base") continue;
    linkAll(join(base, "base"), join(models, name));
    const scheduler = join(models, name, "scheduler");
    replace(scheduler, join(dir, "scheduler_config.json"));
  }
}

function replace(folder: string, config: string): void {
  unlinkSync(folder);
  mkdirSync(folder);
  cpSync(config, join(folder, "scheduler_config.json"));
}

/** A case's request, its files as data: URIs. */
export function requestOf(dir: string, name: string): Record<string, unknown> {
  const uri = (file: string) => `data:image/png;base64,${readFileSync(join(dir, file)).toString("base64")}`;
  const request = JSON.parse(readFileSync(join(dir, "request.json"), "utf8"), (_, value) =>
    typeof value === "string" && value.endsWith(".png") ? uri(value) : value,
  );
  for (const field of ["image", "mask_image"]) {
    if (existsSync(join(dir, `${field}.png`))) request[field] = uri(`${field}.png`);
  }
  return { model: modelOf(dir, name), ...request };
}

/** Values in 0 … 1 that a case's pictures should have: before rounding where they are kept, else of the picture. */
async function expectedOf(dir: string): Promise<ArrayLike<number>> {
  const exact = join(dir, "expected.safetensors");
  if (existsSync(exact)) return readTensors(exact).get("images")!.data as Float32Array;
  const { data } = await decodeImage(readFileSync(join(dir, "expected_0.png")), { maxPixels: 2 ** 24 });
  return Float32Array.from(data, (value) => value / 255);
}

/** Peak signal-to-noise ratio in dB of a case's pictures against what they should be. */
export async function psnrOf(dir: string, pictures: readonly Uint8Array[]): Promise<number> {
  const expected = await expectedOf(dir);
  let squares = 0;
  let i = 0;
  for (const picture of pictures) {
    for (const value of (await decodeImage(picture, { maxPixels: 2 ** 24 })).data)
      squares += (value / 255 - expected[i++]!) ** 2;
  }
  if (i !== expected.length) throw new Error(`${i} values, expected ${expected.length}`);
  return -10 * Math.log10(squares / i);
}
