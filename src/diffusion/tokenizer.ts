/** CLIP's tokenizer, from the vocab.json and merges.txt that every released Stable Diffusion folder has. */
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Tokenizer as BytePairEncoder } from "@huggingface/tokenizers";
import { readJson } from "../models/checkpoint.ts";
import { CheckpointError } from "../models/safetensors.ts";
import { type AddedToken, addedTokens, readIfThere, splitAt } from "./added-tokens.ts";

export interface Tokenizer {
  /** all ids, beginning and end tokens included, however many */
  encode(text: string): number[];
  /** the text of ids, as the model reads it */
  decode(ids: number[]): string;
  bos: number;
  eos: number;
  pad: number;
  /** ids of one chunk, bos and eos included: 77, but for towers of more positions */
  length: number;
  /** ids that others follow which belong to the same word, and how many they are together: textual inversions */
  together: ReadonlyMap<number, number>;
}

const BOS = "<|startoftext|>";
const EOS = "<|endoftext|>";
const MODEL_MAX_LENGTH = 77;

// The patterns of huggingface/transformers' CLIPTokenizer. There \s is Unicode's White_Space; JavaScript's adds U+FEFF
// and lacks U+0085.
const SPACE = "\\p{White_Space}";
const WORDS = `'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^${SPACE}\\p{L}\\p{N}]+`;
const words = (pattern: string) => ({ type: "Split", pattern: { Regex: pattern }, behavior: "Removed", invert: true });

/** Token of special_tokens_map.json; transformers finds it anywhere in a text (`normalized`: after lower-casing). */
interface SpecialToken {
  content: string;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  single_word: boolean;
}

/** The tokenizer.json that transformers would make of a vocabulary, its merges and its special tokens. */
function description(vocab: Record<string, number>, merges: unknown, specials: readonly SpecialToken[]) {
  return {
    version: "1.0",
    added_tokens: specials.map((token) => ({ ...token, id: vocab[token.content], special: true })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: `${SPACE}+` }, content: " " },
        // Letter by letter, as in Rust: JavaScript alone lowers a Σ that ends a word to ς.
        { type: "Replace", pattern: { Regex: "Σ" }, content: "σ" },
        { type: "Lowercase" },
        // Lowered, <|ENDOFTEXT|> is ordinary text unless the token is `normalized`; without a letter beside it the
        // library would take it for the token.
        ...(specials.some(({ normalized }) => normalized) ? [] : [{ type: "Prepend", prepend: " " }]),
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        words(`<\\|startoftext\\|>|<\\|endoftext\\|>|${WORDS}`),
        words(WORDS),
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: "RobertaProcessing",
      cls: [BOS, vocab[BOS]],
      sep: [EOS, vocab[EOS]],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: EOS,
      continuing_subword_prefix: "",
      end_of_word_suffix: "</w>",
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges,
    },
  };
}

/** What the folder says of its special tokens; special_tokens_map.json wins, as in transformers. */
function specialTokens(dir: string): Record<"bos" | "eos" | "pad", SpecialToken> {
  const said = {
    ...readIfThere(join(dir, "tokenizer_config.json")),
    ...readIfThere(join(dir, "special_tokens_map.json")),
  } as Record<string, string | Partial<SpecialToken> | null>;
  const token = (key: string, content: string): SpecialToken => {
    const value = said[key] ?? content;
    if (typeof (typeof value === "string" ? value : value.content) !== "string") {
      throw new CheckpointError(`special_tokens_map.json: ${key} ${JSON.stringify(value)} is no token`);
    }
    const plain = { content, lstrip: false, rstrip: false, normalized: false, single_word: false };
    return typeof value === "string" ? { ...plain, content: value } : { ...plain, ...value };
  };
  token("unk_token", EOS);
  return { bos: token("bos_token", BOS), eos: token("eos_token", EOS), pad: token("pad_token", EOS) };
}

/** One character a byte: the printable bytes stand for themselves, the others follow from U+0100 on (OpenAI's bytes_to_unicode). */
function byteCharacters(): string[] {
  const isPrintable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const others = bytes.filter((byte) => !isPrintable(byte));
  return [...bytes.filter(isPrintable), ...others.map((_, i) => 256 + i)].map((code) => String.fromCharCode(code));
}

/** CLIP's vocabulary follows from its merges (openai/CLIP, simple_tokenizer.py): bytes, bytes that end a word, merges, special tokens. */
export function vocabularyOf(merges: readonly string[]): Record<string, number> {
  const bytes = byteCharacters();
  const ending = bytes.map((byte) => `${byte}</w>`);
  const tokens = [...bytes, ...ending, ...merges.map((merge) => merge.replace(" ", "")), BOS, EOS];
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

/**
 * Vocabulary and merges from the files of a released folder, or from the tokenizer.json of a newer one. The folders that ship
 * with the project have special tokens only: the merges that they share lie in the folder above, and give the vocabulary.
 */
function byteLevelModel(dir: string): { vocab: Record<string, number>; merges: unknown } {
  const has = (name: string) => existsSync(join(dir, name));
  if (!has("vocab.json") && has("tokenizer.json")) {
    const { model } = readJson(join(dir, "tokenizer.json")) as {
      model?: { vocab: Record<string, number>; merges: unknown };
    };
    if (typeof model?.vocab !== "object" || !Array.isArray(model.merges)) {
      throw new CheckpointError(`${basename(dir)}/tokenizer.json has no vocabulary of pairs`);
    }
    return model;
  }
  const file = join(has("merges.txt") ? dir : dirname(dir), "merges.txt");
  if (!existsSync(file)) {
    throw new CheckpointError(`no vocabulary: ${basename(dir)} has neither merges.txt nor tokenizer.json`);
  }
  const lines = readFileSync(file, "utf8").split(/\r?\n/);
  const merges = lines.filter((line) => line !== "" && !line.startsWith("#version"));
  const vocab = has("vocab.json")
    ? (readJson(join(dir, "vocab.json")) as Record<string, number>)
    : vocabularyOf(merges);
  return { vocab, merges };
}

/** What a tokenizer's folder says. @throws CheckpointError when a file is missing or not sound, or the vocabulary lacks a special token */
export function readTokenizer(dir: string) {
  const { vocab, merges } = byteLevelModel(dir);
  const specials = specialTokens(dir);
  const idOf = ({ content }: SpecialToken) => {
    const id = vocab[content];
    if (id === undefined) throw new CheckpointError(`the vocabulary in ${basename(dir)} has no ${content}`);
    return id;
  };
  const [bos, eos, pad] = [idOf(specials.bos), idOf(specials.eos), idOf(specials.pad)];
  const different = new Map(Object.values(specials).map((token) => [token.content, token]));
  const added = addedTokens(dir, new Set(different.keys()), vocab);
  return { vocab, merges, specials: [...different.values()], added, bos, eos, pad };
}

/** The tokenizer of a folder, exact to transformers' CLIPTokenizer. @throws as readTokenizer */
export function loadTokenizer(dir: string): Tokenizer {
  const { vocab, merges, specials, added, bos, eos, pad } = readTokenizer(dir);
  const library = new BytePairEncoder(description(vocab, merges, specials), {});
  const spelled = (text: string) => library.encode(text).ids;
  const encode = (text: string) =>
    added.length === 0 ? spelled(text) : [bos, ...piecesOf(added, text, (part) => spelled(part).slice(1, -1)), eos];
  const contents = new Map(added.map(({ id, content }) => [id, content]));
  const decode = (ids: number[]) => library.decode(ids, { clean_up_tokenization_spaces: false }).trim();
  return {
    bos,
    eos,
    pad,
    together: new Map(),
    length: Number(readIfThere(join(dir, "tokenizer_config.json")).model_max_length ?? MODEL_MAX_LENGTH),
    encode,
    decode: (ids) => (added.length === 0 ? decode(ids) : decodeWith(contents, ids, decode)),
  };
}

function piecesOf(added: readonly AddedToken[], text: string, spell: (part: string) => number[]): number[] {
  return splitAt(added, text).flatMap((part) => (typeof part === "number" ? [part] : spell(part)));
}

/** Ids as text, those of added tokens by their content. */
function decodeWith(contents: ReadonlyMap<number, string>, ids: number[], decode: (ids: number[]) => string): string {
  const parts: string[] = [];
  let run: number[] = [];
  for (const id of [...ids, null]) {
    const content = id === null ? undefined : contents.get(id);
    if (id !== null && content === undefined) {
      run.push(id);
      continue;
    }
    if (run.length > 0) parts.push(decode(run));
    if (content !== undefined) parts.push(content);
    run = [];
  }
  return parts.join(" ");
}
