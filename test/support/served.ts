/** What a MODELS_DIR makes of a request, without a service around it: the picture as 8 bits, or the reason why not. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { adapt } from "../../src/diffusion/adapters/adapt.ts";
import { type Join, loadControlNet, loadModel } from "../../src/diffusion/load.ts";
import { prepare } from "../../src/diffusion/pipeline.ts";
import { Refused } from "../../src/errors.ts";
import type { ImagesIn } from "../../src/gateway/images-in.ts";
import { type Resolved, resolve } from "../../src/gateway/resolve.ts";
import { toPixels } from "../../src/image/hint.ts";
import type { Network } from "../../src/models/network.ts";
import { GenerationInput } from "../../src/schema/generation-request.ts";
import { chooseAdapters, type Take } from "../../workers/generate/adapters.ts";
import { readImages } from "../../workers/generate/images.ts";
import { openLibrary } from "../../workers/generate/library.ts";
import { runOnce } from "../../workers/runtime/runtime.ts";
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

/** Images of data: URIs, as they are taken out of a request. */
const taking: Pick<ImagesIn, "take"> = {
  async take(named) {
    const taken = [...named].map(([path, source]) => {
      const hash = `sha256:${createHash("sha256").update(source).digest("hex")}`;
      const bytes = Buffer.from(source.slice(source.indexOf(",") + 1), "base64");
      return [path, { hash, bytes, width: 0, height: 0 }] as const;
    });
    return new Map(taken);
  },
};

/**
 * As the gateway and workers/generate/engine.ts do it, in one process.
 * @param join absent = as on the CPU
 */
export async function serve(models: string, input: Record<string, unknown>, join: Join = () => null): Promise<Served> {
  const library = openLibrary(models);
  const catalog = { ...library.catalog, annotators: [], execution_provider: "cpu" };
  let resolved: Resolved;
  try {
    resolved = await resolve(GenerationInput.parse(input), catalog, { MAX_PIXELS: 2 ** 22 }, taking, "");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { reason: error.message };
  }
  const { request, images } = resolved;
  const base = library.models.get(request.model)!;
  const controlnets = request.controls.map(({ controlnet }) =>
    loadControlNet(library.controlnets.get(controlnet)!.on(base), runner, runner),
  );
  const files = Object.fromEntries(images);
  const turn = async () => {};
  const read = await readImages(request, files, turn);
  const take: Take = (shelf, id) => library[shelf].get(id) as ReturnType<typeof take<typeof shelf>>;
  const chosen = await chooseAdapters(request, files, turn, take, runner);
  const loaded = loadModel(base, runner, runner, join);
  const runners = {
    runner,
    remembering: runner,
    once: (network: Network) => runOnce(network.graph()),
    join,
    budget: 2 ** 30,
  };
  const plan = await prepare(request, await adapt(base, loaded, chosen, runners), controlnets, read, chosen);
  const [image] = await finish(plan);
  const { warnings } = catalog.models.find(({ id }) => id === request.model)!;
  return { pixels: toPixels(image!, request.width, request.height).data, warnings: [...warnings, ...plan.warnings] };
}

/** dB of 8-bit pixels [H, W, 3] against values in 0 … 1. Rounding to 8 bits alone gives 59.3 to 59.8. */
export function decibels(pixels: Uint8Array, expected: ArrayLike<number>): number {
  if (pixels.length !== expected.length) throw new Error(`${pixels.length} values, expected ${expected.length}`);
  const squares = pixels.reduce((sum, value, i) => sum + (value / 255 - expected[i]!) ** 2, 0);
  return -10 * Math.log10(squares / pixels.length);
}
