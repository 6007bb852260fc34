/** How prompts are parsed, and cut into what a text tower reads, against AUTOMATIC1111's web UI (fixtures/make/text.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { withWords } from "../../src/diffusion/adapters/embeddings.ts";
import { chunkPrompt, parseWeighted, type WeightedText } from "../../src/diffusion/prompt.ts";
import { loadTokenizer } from "../../src/diffusion/tokenizer.ts";
import type { PromptSyntax } from "../../src/schema/generation-request.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const clip = loadTokenizer(join(import.meta.dirname, "../../assets/clip-vocab"));
const expected = JSON.parse(readFileSync(join(fixtures, "prompts.json"), "utf8")) as {
  parsed: { prompt: string; parsed: [text: string, weight: number][] }[];
  chunked: { prompt: string; syntax: PromptSyntax; chunks: { ids: number[]; weights: number[] }[] }[];
};

/** Sections as the web UI has them: one list with ["BREAK", -1] in between; white space about a BREAK does not count. */
function flat(sections: WeightedText[][]): [string, number][] {
  const lists = sections.map((spans) => spans.map(({ text, weight }): [string, number] => [text.trim(), weight]));
  return lists.flatMap((list, i) => (i === 0 ? list : [["BREAK", -1] as [string, number], ...list]));
}
const trimmed = (parsed: [string, number][]) => parsed.map(([text, weight]) => [text.trim(), weight]);
const worded = (parsed: [string, number][]) => parsed.filter(([text]) => text !== "");
const short = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 25)} … ${text.slice(-25)}` : text);

suite("weighted prompts", () => {
  for (const { prompt, parsed } of expected.parsed) {
    test(`${short(prompt)} has the weights that it has in the web UI`, () => {
      assert.deepEqual(worded(flat(parseWeighted(prompt))), worded(trimmed(parsed) as [string, number][]));
    });
  }

  test("a BREAK inside brackets breaks, and what is on either side keeps the brackets' weight", () => {
    assert.deepEqual(flat(parseWeighted("(one BREAK two:1.5)")), [
      ["one", 1.5],
      ["BREAK", -1],
      ["two", 1.5],
    ]);
  });

  test("what is not a number is text", () => {
    assert.deepEqual(parseWeighted("(a:1.2.3)"), [[{ text: "a:1.2.3", weight: 1.1 }]]);
  });

  for (const piece of ["(", "[", ")", "\\", ":", ": 1", "(a", "BREAK ", ": ", "1"]) {
    test(`${JSON.stringify(piece)} again and again takes no time worth mentioning`, () => {
      const start = performance.now();
      parseWeighted(`(:${piece.repeat(10_000 / piece.length)}`);
      assert.ok(performance.now() - start < 1000);
    });
  }
});

suite("chunks", () => {
  for (const { prompt, syntax, chunks } of expected.chunked) {
    test(`${syntax} ${short(prompt)} is cut where the web UI cuts it`, () => {
      assert.deepEqual(chunkPrompt(prompt, syntax, "chunk", clip), { chunks, truncated: [] });
    });
  }

  test("a prompt that is cut off ends with the end token, and the rest is told", () => {
    const { chunks, truncated } = chunkPrompt(`${"word ".repeat(75)}red house, blue sea`, "plain", "truncate", clip);
    assert.equal(chunks.length, 1);
    assert.equal(chunks[0]!.ids.length, 77);
    assert.equal(chunks[0]!.ids.at(-1), clip.eos);
    assert.deepEqual(truncated, ["red house , blue sea"]);
    assert.deepEqual(chunkPrompt("a cat", "plain", "truncate", clip).truncated, []);
  });

  test("no prompt becomes more than 32 chunks; what is beyond is told", () => {
    for (const long of ["truncate", "chunk"] as const) {
      const { chunks, truncated } = chunkPrompt("BREAK a ".repeat(40), "weighted", long, clip);
      assert.equal(chunks.length, 32);
      assert.deepEqual(truncated, ["a a a a a a a a a"]);
    }
    assert.equal(chunkPrompt("BREAK,".repeat(1666), "weighted", "truncate", clip).chunks.length, 32);
  });

  test("each section between BREAKs is cut off by itself", () => {
    const long = `${"word ".repeat(75)}house`;
    const { chunks, truncated } = chunkPrompt(`a BREAK ${long} BREAK b`, "weighted", "truncate", clip);
    assert.equal(chunks.length, 3);
    assert.deepEqual(truncated, ["house"]);
  });
});

suite("textual inversions in prompts", () => {
  const word = (token: string, count: number) => ({ token, vectors: [Array(count).fill(new Float32Array(1))] });
  const FIRST = 50_000;
  const known = withWords(clip, [word("zqx", 2), word("zqxw", 3), word("ZQX", 1), word("<long>", 70)], FIRST);
  const added = (text: string) => known.encode(text).filter((id) => id >= FIRST);

  test("of two that begin alike the longer one is meant, and a case of its own is another", () => {
    assert.deepEqual(added("a zqxw house"), [FIRST + 2, FIRST + 3, FIRST + 4]);
    assert.deepEqual(added("ZQX and zqx"), [FIRST + 5, FIRST, FIRST + 1]);
  });

  test("one that a chunk has no room for begins the next", () => {
    const { chunks } = chunkPrompt(`${"day ".repeat(10)}<long> night`, "plain", "chunk", known);
    assert.deepEqual(
      chunks.map(({ ids }) => [ids.filter((id) => id >= FIRST).length, ids.indexOf(clip.eos)]),
      [
        [0, 11],
        [70, 72],
      ],
    );
  });
});
