/** CLIP's tokenizer, from the vocab.json and merges.txt that every released Stable Diffusion folder has. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as BytePairEncoder } from "@huggingface/tokenizers";

export interface Tokenizer {
  /** all ids, beginning and end tokens included, however many */
  encode(text: string): number[];
  /** the text of ids, as the model reads it */
  decode(ids: number[]): string;
  bos: number;
  eos: number;
  pad: number;
  /** ids of one chunk, bos and eos included: 77 */
  length: number;
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

function readJson(path: string): Record<string, unknown> {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

/** What the folder says of its special tokens; special_tokens_map.json wins, as in transformers. */
function specialTokens(dir: string): Record<"bos" | "eos" | "pad", SpecialToken> {
  const said = {
    ...readJson(join(dir, "tokenizer_config.json")),
    ...readJson(join(dir, "special_tokens_map.json")),
  } as Record<string, string | Partial<SpecialToken> | null>;
  const token = (key: string, content: string): SpecialToken => {
    const value = said[key] ?? content;
    const plain = { content, lstrip: false, rstrip: false, normalized: false, single_word: false };
    return typeof value === "string" ? { ...plain, content: value } : { ...plain, ...value };
  };
  return { bos: token("bos_token", BOS), eos: token("eos_token", EOS), pad: token("pad_token", EOS) };
}

/** Vocabulary and merges from the files of a released folder, or from the tokenizer.json of a newer one. */
function byteLevelModel(dir: string): { vocab: Record<string, number>; merges: unknown } {
  if (!existsSync(join(dir, "vocab.json")) && existsSync(join(dir, "tokenizer.json"))) {
    return JSON.parse(readFileSync(join(dir, "tokenizer.json"), "utf8")).model;
  }
  const lines = readFileSync(join(dir, "merges.txt"), "utf8").split(/\r?\n/);
  return {
    vocab: JSON.parse(readFileSync(join(dir, "vocab.json"), "utf8")),
    merges: lines.filter((line) => line !== "" && !line.startsWith("#version")),
  };
}

/**
 * The tokenizer of a folder with vocab.json and merges.txt, exact to transformers' CLIPTokenizer.
 * Throws when a file is missing or the vocabulary lacks one of the special tokens.
 */
export function loadTokenizer(dir: string): Tokenizer {
  const { vocab, merges } = byteLevelModel(dir);
  const specials = specialTokens(dir);
  const idOf = ({ content }: SpecialToken) => {
    const id = vocab[content];
    if (id === undefined) throw new Error(`the vocabulary in ${dir} has no ${content}`);
    return id;
  };
  const [bos, eos, pad] = [idOf(specials.bos), idOf(specials.eos), idOf(specials.pad)];
  const different = new Map(Object.values(specials).map((token) => [token.content, token]));
  const library = new BytePairEncoder(description(vocab, merges, [...different.values()]), {});
  const encode = (text: string) => library.encode(text).ids;
  return {
    bos,
    eos,
    pad,
    length: MODEL_MAX_LENGTH,
    encode,
    decode: (ids) => library.decode(ids, { clean_up_tokenization_spaces: false }).trim(),
  };
}
