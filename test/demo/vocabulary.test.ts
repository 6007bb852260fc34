import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { spoken } from "../../demo/dataset.ts";
import { learnMerges, writeVocabulary } from "../../demo/vocabulary.ts";
import { scene } from "../../demo/world/scene.ts";
import { loadTokenizer } from "../../src/diffusion/tokenizer.ts";

const folder = mkdtempSync(join(tmpdir(), "vocabulary-"));
after(() => rmSync(folder, { recursive: true }));

test("the commonest pair is merged first, of equals the first in the alphabet", () => {
  // "a b" occurs twice, in abc and abd; then each rest once.
  assert.deepEqual(learnMerges(["ab abc", "abd"]), ["a b", "a b</w>", "ab c</w>", "ab d</w>"]);
});

test("each word of the world is one token, and every other text is tokens too", () => {
  const captions = Array.from({ length: 300 }, (_, seed) => scene(seed).caption);
  const size = writeVocabulary(folder, captions);
  const tokenizer = loadTokenizer(folder);
  assert.deepEqual([tokenizer.bos, tokenizer.eos], [size - 2, size - 1], "the last two are the start and the end");
  for (const caption of captions) {
    const words = caption.match(/[a-z]+|,/g)!;
    const ids = tokenizer.encode(caption);
    assert.equal(ids.length, words.length + 2, caption);
    assert.equal(tokenizer.decode(ids.slice(1, -1)).replace(/ ,/g, ","), caption);
  }
  const strange = tokenizer.encode("Zwölf Quäker 🐢");
  assert.ok(strange.length > 10 && strange.every((id) => id < size));
});

test("most captions are trained on whole, the others lack things and add none", () => {
  const captions = Array.from({ length: 400 }, (_, seed) => scene(seed).caption);
  const said = captions.map(spoken);
  const whole = said.filter((caption, seed) => caption === captions[seed]).length;
  assert.ok(whole > 250 && whole < 330, `${whole} of 400 are whole`);
  said.forEach((caption, seed) => {
    const words = captions[seed]!.split(", ");
    assert.ok(caption !== "" && caption.split(", ").every((word) => words.includes(word)), caption);
  });
});
