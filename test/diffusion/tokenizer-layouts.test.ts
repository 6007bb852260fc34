/** The layouts that tokenizers have in folders: each gives the ids that transformers 5.18 gives. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadTokenizer } from "../../src/diffusion/tokenizer.ts";
import { SD15 } from "../support/tiny.ts";

const FOLDER = join(SD15, "base/tokenizer");
const json = (name: string) => JSON.parse(readFileSync(join(FOLDER, name), "utf8"));
const config = json("tokenizer_config.json");
const whole = json("tokenizer.json");
const WORDS = Object.keys(whole.model.vocab).length;

const TEXT = "A Cat-Toy <cat-toy>, the SEA!";
const head = [1012, 320, 66, 536, 268, 580, 344];
const tail = [267, 518, 567, 320, 256, 1013];
const SPELLED = [...head, 283, 66, 536, 268, 580, 344, 29, ...tail];
const ADDED = [...head, WORDS, ...tail];
const SECOND = [...head, WORDS + 1, ...tail];

const token = (content: string) => ({ content, lstrip: false, rstrip: false, single_word: false, normalized: false });
const [bos, eos] = [token("<|startoftext|>"), token("<|endoftext|>")];
const added = { ...token("<cat-toy>"), special: false };
const PAIRS = ["vocab.json", "merges.txt"];
const OLD = [...PAIRS, "special_tokens_map.json"];

/** Files that are copied, files that say something else, and the ids. */
const LAYOUTS: Record<string, [copied: readonly string[], written: Record<string, object>, ids: readonly number[]]> = {
  "vocabulary and merges, as released": [[...OLD, "tokenizer_config.json"], {}, SPELLED],
  "tokenizer.json, as transformers 5 writes it": [["tokenizer.json", "tokenizer_config.json"], {}, SPELLED],
  both: [[...OLD, "tokenizer.json", "tokenizer_config.json"], {}, SPELLED],
  "without a config": [OLD, {}, SPELLED],
  "special tokens with all their flags": [
    PAIRS,
    {
      "special_tokens_map.json": { bos_token: bos, eos_token: eos, pad_token: eos, unk_token: eos },
      "tokenizer_config.json": config,
    },
    SPELLED,
  ],
  "a token of added_tokens.json": [
    [...OLD, "tokenizer_config.json"],
    { "added_tokens.json": { "<cat-toy>": WORDS } },
    ADDED,
  ],
  "a token of the config's added_tokens_decoder": [
    OLD,
    { "tokenizer_config.json": { ...config, added_tokens_decoder: { [WORDS]: added } } },
    ADDED,
  ],
  "a token of tokenizer.json": [
    ["tokenizer_config.json"],
    { "tokenizer.json": { ...whole, added_tokens: [...whole.added_tokens, { id: WORDS, ...added }] } },
    ADDED,
  ],
  "a special token without a number": [
    [...PAIRS, "tokenizer_config.json"],
    { "special_tokens_map.json": { additional_special_tokens: ["<cat-toy>"] } },
    ADDED,
  ],
  "special tokens without numbers in both files": [
    PAIRS,
    {
      "tokenizer_config.json": { ...config, extra_special_tokens: ["<dog>", "<cat-toy>"] },
      "special_tokens_map.json": { extra_special_tokens: ["<cat-toy>"] },
    },
    SECOND,
  ],
  "a special token without a number after one with a name": [
    PAIRS,
    { "tokenizer_config.json": { ...config, extra_special_tokens: ["<cat-toy>"], dog_token: token("<dog>") } },
    SECOND,
  ],
};

for (const [layout, [copied, written, ids]] of Object.entries(LAYOUTS)) {
  test(`a tokenizer's folder: ${layout}`, (t) => {
    const dir = mkdtempSync(join(tmpdir(), "tokenizer-"));
    t.after(() => rmSync(dir, { recursive: true }));
    for (const name of copied) copyFileSync(join(FOLDER, name), join(dir, name));
    for (const [name, content] of Object.entries(written)) writeFileSync(join(dir, name), JSON.stringify(content));
    assert.deepEqual(loadTokenizer(dir).encode(TEXT), ids);
  });
}
