/** What a MODELS_DIR makes of a request, without a service around it: the picture as 8 bits, or the reason why not. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadControlNet, loadModel } from "../../src/diffusion/load.ts";
import { prepare } from "../../src/diffusion/pipeline.ts";
import { toPixels } from "../../src/image/hint.ts";
import { GenerationInput, GenerationRequest } from "../../src/schema/generation-request.ts";
import { mapImages } from "../../src/schema/images.ts";
import { readImages } from "../../workers/generate/images.ts";
import { type Library, openLibrary } from "../../workers/generate/library.ts";
import { finish, runner } from "./tiny.ts";

export type Served =
  | { readonly pixels: Uint8Array; readonly warnings: readonly string[] }
  | { readonly reason: string };

/** request.json with its files, image.png and mask_image.png where they are there, as data: URIs. */
export function readRequest(dir: string): Record<string, unknown> {
  const uri = (file: string) => `data:image/png;base64,${readFileSync(join(dir, file)).toString("base64")}`;
  const request = JSON.parse(readFileSync(join(dir, "request.json"), "utf8"));
  for (const control of request.controls ?? []) control.image = uri(control.image);
  for (const field of ["image", "mask_image"]) {
    if (existsSync(join(dir, `${field}.png`))) request[field] = uri(`${field}.png`);
  }
  return request;
}

function reasonOf({ catalog }: Library, shelf: string, id: string): string {
  const found = catalog.skipped.find((one) => one.shelf === shelf && one.id === id);
  return found === undefined ? `there is no ${id} among the ${shelf}` : found.reason;
}

/** As src/gateway/resolve.ts and workers/generate/engine.ts do it, in one process. */
export async function serve(models: string, input: Record<string, unknown>): Promise<Served> {
  const library = openLibrary(models);
  const { catalog } = library;
  const parsed = GenerationInput.parse(input);
  const entry = catalog.models.find(({ id }) => id === parsed.model);
  if (entry === undefined) return { reason: reasonOf(library, "models", parsed.model!) };
  const files: Record<string, Uint8Array> = {};
  const hashed = mapImages(GenerationInput, parsed, (source) => {
    const hash = `sha256:${createHash("sha256").update(source).digest("hex")}`;
    files[hash] = Buffer.from(source.slice(source.indexOf(",") + 1), "base64");
    return hash;
  }) as object;
  const controlnets = [];
  for (const { controlnet } of parsed.controls) {
    const opened = library.controlnets.get(controlnet);
    if (opened === undefined) return { reason: reasonOf(library, "controlnets", controlnet) };
    const { misfits } = catalog.controlnets.find(({ id }) => id === controlnet)!;
    if (misfits[entry.id] !== undefined) return { reason: misfits[entry.id]! };
    controlnets.push(loadControlNet(opened.on(library.models.get(entry.id)!), runner, runner));
  }
  const { width = entry.width, height = entry.height, scheduler = entry.scheduler, seed = 0 } = parsed;
  const strength = parsed.strength ?? (parsed.image === undefined ? null : 0.8);
  const request = GenerationRequest.parse({ ...hashed, model: entry.id, width, height, scheduler, seed, strength });
  const model = loadModel(library.models.get(entry.id)!, runner, runner);
  const plan = await prepare(request, model, controlnets, await readImages(request, files, async () => {}));
  const [image] = await finish(plan);
  return { pixels: toPixels(image!, width, height).data, warnings: [...entry.warnings, ...plan.warnings] };
}

/** dB of 8-bit pixels [H, W, 3] against values in 0 … 1. Rounding to 8 bits alone gives 59.3 to 59.8. */
export function decibels(pixels: Uint8Array, expected: ArrayLike<number>): number {
  if (pixels.length !== expected.length) throw new Error(`${pixels.length} values, expected ${expected.length}`);
  const squares = pixels.reduce((sum, value, i) => sum + (value / 255 - expected[i]!) ** 2, 0);
  return -10 * Math.log10(squares / pixels.length);
}
