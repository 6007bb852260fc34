import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { check } from "../../check/tokens.ts";
import { chunkPrompt } from "../../src/diffusion/prompt.ts";
import { loadTokenizer, vocabularyOf } from "../../src/diffusion/tokenizer.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const vocabulary = join(import.meta.dirname, "../../assets/clip-vocab");
const clip = loadTokenizer(vocabulary);
const inner = (text: string) => clip.encode(text).slice(1, -1);

/** A copy of the CLIP vocabulary whose special_tokens_map.json says something else. */
function withSpecialTokens(t: { after(fn: () => void): void }, map: object): string {
  const dir = mkdtempSync(join(tmpdir(), "tokenizer-"));
  t.after(() => rmSync(dir, { recursive: true }));
  cpSync(join(vocabulary, "merges.txt"), join(dir, "merges.txt"));
  writeFileSync(join(dir, "special_tokens_map.json"), JSON.stringify(map));
  return dir;
}

suite("tokenizer", () => {
  test("gives every awkward text the ids that transformers gives it", async () => {
    const findings = await check(fixtures);
    assert.equal(findings.length, 15);
    for (const { subject, error } of findings) assert.equal(error, 0, subject);
  });

  test("takes a token that a fine-tune has added for one id, in every form in which transformers saves it", (t) => {
    const forms: Record<string, object> = {
      "added_tokens.json": { "<Cat-Toy>": 49408 },
      "tokenizer_config.json": { added_tokens_decoder: { 49408: { content: "<Cat-Toy>", special: false } } },
      "tokenizer.json": { added_tokens: [{ id: 49408, content: "<Cat-Toy>", special: false, normalized: true }] },
    };
    for (const [file, content] of Object.entries(forms)) {
      const dir = withSpecialTokens(t, {});
      const merges = readFileSync(join(dir, "merges.txt"), "utf8")
        .split("\n")
        .filter((line) => /^[^#]/.test(line));
      writeFileSync(join(dir, "vocab.json"), JSON.stringify(vocabularyOf(merges)));
      writeFileSync(join(dir, file), JSON.stringify(content));
      const { encode, decode } = loadTokenizer(dir);
      const a = inner("a photo of");
      assert.deepEqual(encode("a photo of<cat-toy>, A Photo Of <Cat-Toy>").slice(1, -1), [
        ...a,
        49408,
        ...inner(","),
        ...a,
        49408,
      ]);
      assert.equal(decode([...a, 49408]), "a photo of <Cat-Toy>");
    }
  });

  // Ids from transformers 5.18. These are the places where JavaScript's idea of a letter or a space differs from Rust's.
  test("lowers a final Σ to σ, not ς", () => assert.deepEqual(inner("ΟΔΟΣ"), inner("οδοσ")));
  test("takes U+FEFF for a character and U+0085 for a space", () => {
    assert.deepEqual(inner("\ufeff"), [171, 119, 379]);
    assert.deepEqual(inner("a\u0085b"), inner("a b"));
  });
  test("finds <|endoftext|> in a prompt as the token, <|ENDOFTEXT|> as text", () => {
    assert.deepEqual(inner("<|endoftext|>"), [49407]);
    assert.deepEqual(inner("<|ENDOFTEXT|>"), [27, 347, 40786, 4160, 91, 285]);
  });

  test("pads with the folder's own token, which is then a token in a prompt too (SD 2.x)", (t) => {
    const special = (content: string) => ({
      content,
      lstrip: false,
      normalized: true,
      rstrip: false,
      single_word: false,
    });
    const map = { bos_token: special("<|startoftext|>"), eos_token: special("<|endoftext|>"), pad_token: "!" };
    const sd2 = loadTokenizer(withSpecialTokens(t, map));
    assert.equal(sd2.pad, 0);
    assert.deepEqual(sd2.encode("a cat! dog!!"), [49406, 320, 2368, 0, 1929, 0, 0, 49407]);
    const { chunks } = chunkPrompt("a cat", "plain", "truncate", sd2);
    assert.deepEqual(chunks[0]!.ids, [49406, 320, 2368, 49407, ...Array(73).fill(0)]);
    // normalized: found after lower-casing
    assert.deepEqual(sd2.encode("A Cat <|ENDOFTEXT|> x"), [49406, 320, 2368, 49407, 343, 49407]);
  });

  test("reads a folder that has its vocabulary in tokenizer.json alone", (t) => {
    const dir = mkdtempSync(join(tmpdir(), "tokenizer-"));
    t.after(() => rmSync(dir, { recursive: true }));
    const small = join(fixtures, "sd15/base/tokenizer");
    cpSync(join(small, "tokenizer.json"), join(dir, "tokenizer.json"));
    assert.deepEqual(loadTokenizer(dir).encode("a photo of a cat"), loadTokenizer(small).encode("a photo of a cat"));
  });

  test("takes the published vocabulary and padding for a checkpoint without a tokenizer", () => {
    const [sd1, sd2] = ["pad-endoftext", "pad-exclamation"].map((dir) => loadTokenizer(join(vocabulary, dir)));
    for (const tokenizer of [sd1!, sd2!]) {
      assert.deepEqual(tokenizer.encode("a photo of a cat"), [49406, 320, 1125, 539, 320, 2368, 49407]);
    }
    assert.deepEqual([sd1!.pad, sd2!.pad], [49407, 0]);
  });

  test("names the special token that a vocabulary lacks", (t) => {
    const dir = withSpecialTokens(t, { pad_token: "<pad>" });
    assert.throws(() => loadTokenizer(dir), /has no <pad>/);
  });

  for (const text of ["a", "word ", "!", "7", "<|endoftext|>", "é", " "]) {
    test(`takes time in proportion to the length: ${JSON.stringify(text)} again and again`, () => {
      const timed = (length: number) => {
        const start = performance.now();
        clip.encode(text.repeat(Math.ceil(length / text.length)));
        return performance.now() - start;
      };
      timed(100_000);
      const [short, long] = [Math.min(timed(25_000), timed(25_000)), Math.min(timed(100_000), timed(100_000))];
      assert.ok(long < 12 * short + 100, `${short} ms, then ${long} ms for four times the text`);
    });
  }
});
