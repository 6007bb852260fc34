/** Tokens that a fine-tune has added to CLIP's vocabulary, in every form in which transformers 4 and 5 save them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readJson } from "../models/checkpoint.ts";
import { CheckpointError } from "../models/safetensors.ts";

/** A token that is found in a text as a whole, before the rest is spelled in pieces. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Found in the text after it is lower-cased, itself lower-cased. */
  readonly normalized: boolean;
  /** Found only where no letter, digit or underscore stands beside it. */
  readonly single_word: boolean;
}

type Said = Partial<AddedToken> & { content: string; special?: boolean };

/** A file of a tokenizer's folder; {} when it is not there. @throws CheckpointError when it is not a JSON object */
export function readIfThere<T extends object = Record<string, unknown>>(path: string): T {
  return (existsSync(path) ? readJson(path) : {}) as T;
}

/** Special tokens that a tokenizer has anyway. */
const OWN = ["bos_token", "eos_token", "unk_token", "pad_token"];
const LISTS = ["additional_special_tokens", "extra_special_tokens"];

/** Further special tokens, which stand there without their numbers: under names of their own, and in lists. */
function furtherTokens(dir: string): Said[] {
  const config = readIfThere(join(dir, "tokenizer_config.json"));
  const map = readIfThere(join(dir, "special_tokens_map.json"));
  const named = Object.entries({ ...map, ...config }).filter(([key]) => key.endsWith("_token") && !OWN.includes(key));
  const lists = LISTS.flatMap((key) => Object.values(config[key] ?? map[key] ?? {}) as unknown[]);
  return [...named.map(([, value]) => value), ...lists].flatMap((value): Said[] => {
    if (typeof value === "string") return [{ content: value, special: true }];
    const isSaid = typeof value === "object" && value !== null && "content" in value;
    return isSaid ? [{ special: true, ...(value as Said) }] : [];
  });
}

/** Those that have no number yet get the next ones, as in transformers. */
function numbered(further: readonly Said[], known: readonly AddedToken[], vocab: Readonly<Record<string, number>>) {
  const contents = new Set(known.map(({ content }) => content));
  let next = Math.max(Object.keys(vocab).length, ...known.map(({ id }) => id + 1));
  return further.flatMap((said) => {
    if (contents.has(said.content)) return [];
    contents.add(said.content);
    return [token(vocab[said.content] ?? next++, said)];
  });
}

/**
 * The tokens of a tokenizer's folder beside its special ones: of added_tokens.json ({content: id}), tokenizer.json's
 * `added_tokens`, and tokenizer_config.json's `added_tokens_decoder`, which wins (transformers,
 * tokenization_utils_base.py, PreTrainedTokenizerBase._from_pretrained); then those that are named without a number.
 * @throws CheckpointError for one without content or id
 */
export function addedTokens(
  dir: string,
  specials: ReadonlySet<string>,
  vocab: Readonly<Record<string, number>>,
): AddedToken[] {
  const plain = Object.entries(readIfThere<Record<string, number>>(join(dir, "added_tokens.json")));
  const whole = readIfThere<{ added_tokens?: (Said & { id: number })[] }>(join(dir, "tokenizer.json"));
  const decoder = readIfThere<{ added_tokens_decoder?: Record<string, Said> }>(join(dir, "tokenizer_config.json"));
  if (typeof (decoder.added_tokens_decoder ?? {}) !== "object") {
    throw new CheckpointError("tokenizer_config.json: added_tokens_decoder is no list of tokens by their ids");
  }
  const all = [
    ...plain.map(([content, id]) => token(id, { content })),
    ...(whole.added_tokens ?? []).map((said) => token(said.id, said)),
    ...Object.entries(decoder.added_tokens_decoder ?? {}).map(([id, said]) => token(Number(id), said)),
  ];
  const byContent = new Map(all.map((one) => [one.content, one]));
  const known = [...byContent.values()];
  return [...known, ...numbered(furtherTokens(dir), known, vocab)].filter(
    ({ content }) => content !== "" && !specials.has(content),
  );
}

function token(id: number, said: Said | null): AddedToken {
  if (typeof said?.content !== "string" || !Number.isInteger(id) || id < 0) {
    throw new CheckpointError(`an added token ${JSON.stringify(said)} of id ${id}: not a text with a number`);
  }
  const { content, special = false, normalized = !special, single_word = false } = said;
  return { id, content, normalized, single_word };
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** As the tokenizer normalizes a text before it looks for normalized tokens; letter by letter, as in Rust. */
const normalize = (text: string) =>
  text
    .normalize("NFC")
    .replace(/\p{White_Space}+/gu, " ")
    .replaceAll("Σ", "σ")
    .toLowerCase();

/** A text as pieces: added tokens by their id, and the texts between them. Those that are not normalized are found first. */
export function splitAt(added: readonly AddedToken[], text: string): (number | string)[] {
  const exact = added.filter(({ normalized }) => !normalized);
  const lowered = added
    .filter(({ normalized }) => normalized)
    .map((one) => ({ ...one, content: normalize(one.content) }));
  return split(exact, text).flatMap((part) =>
    typeof part === "number" || lowered.length === 0 ? [part] : split(lowered, normalize(part)),
  );
}

/** The leftmost match wins, of several there the longest. */
function split(added: readonly AddedToken[], text: string): (number | string)[] {
  if (added.length === 0) return [text];
  const longestFirst = added.toSorted((a, b) => b.content.length - a.content.length);
  const ids = new Map(longestFirst.map(({ content, id }) => [content, id]));
  const words = longestFirst.map(({ content, single_word }) =>
    single_word ? `(?<![\\p{L}\\p{N}_])${escaped(content)}(?![\\p{L}\\p{N}_])` : escaped(content),
  );
  const parts = text.split(new RegExp(`(${words.join("|")})`, "u"));
  return parts.map((part, i) => (i % 2 === 1 ? ids.get(part)! : part)).filter((part) => part !== "");
}
