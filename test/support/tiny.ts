/** The tiny sd15 checkpoint for tests of the pipeline, without a service around it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import type { Runner } from "../../src/diffusion/load.ts";
import { decodePicture, type GenerationState, type Plan, step } from "../../src/diffusion/pipeline.ts";
import { decodeImage } from "../../src/image/decode.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { resize } from "../../src/image/resize.ts";
import type { Network } from "../../src/models/network.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { GenerationRequest } from "../../src/schema/generation-request.ts";
import { CPU, openSession, type Provider, type Session } from "../../workers/runtime/runtime.ts";

export const SD15 = join(import.meta.dirname, "../fixtures/sd15");
export const SIZE = 64;
/** Stands for any image in a request whose images are given as tensors. */
export const HASH = `sha256:${"0".repeat(64)}`;

/** By folder and graph: two networks that are read from the same files in the same way share one. */
const sessions = new Map<string, Promise<Session>>();
after(async () => {
  for (const session of sessions.values()) await (await session).release();
});

/** For networks that run a few times: what optimizing them takes would be longer. */
export const QUICK: Provider = {
  ...CPU,
  winograd: false,
  options: { ...CPU.options, graphOptimizationLevel: "disabled" },
};

/** As an accelerator runs it in half precision, whose place the CPU takes. */
export const HALF: Provider = { ...QUICK, half: true };

/** Loads a network when it is run first. */
export const runner: Runner = (network) => {
  let opening: Promise<Session> | undefined;
  return async (feeds) => {
    opening ??= sessionOf(network);
    return (await opening).run(feeds);
  };
};

function sessionOf(network: Network): Promise<Session> {
  const graph = network.graph(QUICK);
  const key = `${graph.folder} ${createHash("sha256").update(graph.bytes).digest("hex")}`;
  const session = sessions.get(key) ?? openSession(graph, QUICK);
  sessions.set(key, session);
  return session;
}

/** A picture of a case as the tensor that `as` makes of it, [1, C, 64, 64]. */
export async function readImage(file: string, as: (pixels: Pixels) => Float32Array): Promise<Tensor> {
  const pixels = await decodeImage(readFileSync(join(SD15, "cases", file)), { maxPixels: 2 ** 20 });
  const data = as(resize(pixels, SIZE, SIZE));
  return { dims: [1, data.length / SIZE ** 2, SIZE, SIZE], data };
}

export const request = (fields: object, controls: object[] = []): GenerationRequest =>
  GenerationRequest.parse({
    model: "base",
    prompt: "a red house by the sea",
    width: SIZE,
    height: SIZE,
    num_inference_steps: 4,
    scheduler: "ddim",
    seed: 7,
    image: null,
    mask_image: null,
    strength: null,
    controls: controls.map((control) => ({ controlnet: "any", image: HASH, mask: null, ...control })),
    ...fields,
  });

/** Steps to the end; `between` may exchange the state after each step. */
export async function finish(plan: Plan, between = (state: GenerationState) => state): Promise<Float32Array[]> {
  let state = plan.start;
  while (state.step < plan.sampler.total) state = between(await step(plan, state));
  const images: Float32Array[] = [];
  for (const picture of state.pictures) images.push(await decodePicture(plan, picture));
  return images;
}
