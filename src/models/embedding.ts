/** Textual inversions (arXiv 2208.01618): diffusers' files, AUTOMATIC1111's, and SDXL's with vectors for both towers. */
import { parse } from "node:path";
import { reshape } from "../onnx/operators.ts";
import { show } from "../onnx/value.ts";
import { type Network, storedNetwork } from "./network.ts";
import type { BaseModel } from "./opened.ts";
import { CheckpointError } from "./safetensors.ts";
import { readWeightsFile } from "./torch-file.ts";

export interface Embedding {
  /** What stands for it in prompts, unless the request says otherwise. */
  readonly token: string;
  /** Its vectors for each text tower: how many, and how wide. */
  readonly shapes: readonly (readonly [count: number, width: number])[];
  /** No inputs → tower_0, tower_1: [count, width]. */
  readonly network: Network;
}

/** The most vectors that can be of use: the text tower reads no more. */
const MAX_VECTORS = 75;
/** Characters: file systems allow no longer name. */
const LONGEST_TOKEN = 255;
const TOWERS = ["clip_l", "clip_g"];
/** Names of vectors that are no token: AUTOMATIC1111's, in safetensors and in pickles. */
const NO_TOKEN = ["emb_params", "string_to_param.*", "*", ...TOWERS];

/** @throws CheckpointError, UnsupportedError */
export function openEmbedding(file: string): Embedding {
  const checkpoint = readWeightsFile(file);
  const names = [...checkpoint.tensors.keys()];
  const sdxl = TOWERS.every((name) => checkpoint.tensors.has(name));
  if (names.length !== (sdxl ? 2 : 1)) {
    throw new CheckpointError(
      `not a textual inversion: it has the tensors ${names.slice(0, 5).join(", ")}; allowed are one alone, or clip_l and clip_g`,
    );
  }
  const own = sdxl ? TOWERS : names;
  const shapes = own.map((name): [number, number] => {
    const { shape } = checkpoint.tensors.get(name)!;
    const [count, width] = shape.length === 1 ? [1, shape[0]!] : (shape as [number, number]);
    if (shape.length > 2 || !(count > 0 && width > 0) || count > MAX_VECTORS) {
      throw new CheckpointError(`"${name}" has the shape ${show(shape)}: 1 to ${MAX_VECTORS} vectors are allowed`);
    }
    return [count, width];
  });
  if (new Set(shapes.map(([count]) => count)).size > 1) {
    throw new CheckpointError(`clip_l has ${shapes[0]![0]} vectors, clip_g ${shapes[1]![0]}`);
  }
  const token = NO_TOKEN.includes(own[0]!) ? parse(file).name : own[0]!;
  if (token.length > LONGEST_TOKEN) throw new CheckpointError(`its token has ${token.length} characters`);
  return {
    token,
    shapes,
    network: storedNetwork(checkpoint, (w) => ({
      inputs: [],
      outputs: Object.fromEntries(
        own.map((name, i) => [`tower_${i}`, reshape(w.get(name, checkpoint.tensors.get(name)!.shape), shapes[i]!)]),
      ),
    })),
  };
}

/** Why it cannot be used with a model, with both widths; null when it can. */
export function embeddingMisfit({ text }: BaseModel, { shapes }: Embedding): string | null {
  const [own, needed] = [shapes.map(([, width]) => width), text.map(({ config }) => config.hidden_size)];
  return show(own) === show(needed) ? null : `its vectors have ${show(own)} values, the model's words ${show(needed)}`;
}
