/** A text encoder in the diffusers layout, with the tokenizer that feeds it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { findCheckpoint, readJson } from "./checkpoint.ts";
import { clip } from "./clip.ts";
import { type ClipConfig, UnsupportedError } from "./config.ts";
import { storedNetwork } from "./network.ts";
import type { TextTower } from "./opened.ts";
import { requireRead } from "./unread.ts";

/** A beginning and an end. */
const FEWEST_TOKENS = 2;

/** How many tokens a tokenizer pads to (`model_max_length`). @throws UnsupportedError when the tower has fewer positions */
function tokensOf(tokenizerFolder: string, positions: number): number {
  // One that is not there is refused where it is read (src/diffusion/tokenizer.ts).
  if (!existsSync(tokenizerFolder)) return positions;
  const file = join(tokenizerFolder, "tokenizer_config.json");
  const said = (existsSync(file) ? readJson(file) : {}) as { model_max_length?: number } & Record<string, unknown>;
  const side = (["padding_side", "truncation_side"] as const).find((key) => (said[key] ?? "right") !== "right");
  if (side !== undefined) {
    throw new UnsupportedError(
      `tokenizer_config.json: ${side} ${JSON.stringify(said[side])} is not supported, only "right"`,
    );
  }
  if (said.split_special_tokens) {
    throw new UnsupportedError(
      `tokenizer_config.json: split_special_tokens ${said.split_special_tokens} is not supported`,
    );
  }
  const { model_max_length: tokens } = said;
  if (tokens === undefined) {
    // There a prompt is padded to a number beyond all bounds, which fails.
    throw new UnsupportedError(
      "tokenizer_config.json: model_max_length is missing, without which diffusers runs no prompt: CLIP's is 77",
    );
  }
  if (!Number.isInteger(tokens) || tokens < FEWEST_TOKENS) {
    throw new UnsupportedError(
      `tokenizer_config.json: model_max_length ${JSON.stringify(tokens)} is no number of tokens`,
    );
  }
  if (tokens <= positions) return tokens;
  throw new UnsupportedError(
    `tokenizer_config.json: model_max_length ${tokens}, but the text encoder has ${positions} positions`,
  );
}

/** transformers reads the text half of a whole CLIP's config, which lies inside it. */
export function textConfig(json: object): object {
  const { text_config: nested } = json as { text_config?: unknown };
  return typeof nested === "object" && nested !== null ? nested : json;
}

/**
 * A key that transformers' CLIPTextConfig does not have, but diffusers' pipelines of SD 1.x and 2.x look for: with it the padding of a
 * prompt is not seen.
 * @throws UnsupportedError
 */
export function requireNoMask(json: { use_attention_mask?: unknown }, part: string): void {
  if (json.use_attention_mask) {
    throw new UnsupportedError(
      `${part}/config.json: "use_attention_mask": ${json.use_attention_mask} is not supported`,
    );
  }
}

/** @throws CheckpointError, ShapeError, UnsupportedError */
export function openTower(folder: string, part: string, config: ClipConfig): TextTower {
  const checkpoint = findCheckpoint(join(folder, part), "model");
  const tokenizerFolder = join(folder, part.replace("text_encoder", "tokenizer"));
  const tokens = tokensOf(tokenizerFolder, config.max_position_embeddings);
  const network = storedNetwork(checkpoint, (w) => clip(w, config, tokens));
  requireRead(checkpoint.tensors.keys(), [network], "text_encoder");
  return { config, tokenizerFolder, network };
}
