/** The demo's own vocabulary: byte-pair encoding learned from the world's captions, in the files that CLIP's tokenizer reads. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { vocabularyOf } from "../src/diffusion/tokenizer.ts";

/** Every pair of neighbouring symbols, joined by a space, with how often it occurs. */
function pairsOf(words: readonly (readonly string[])[]): Map<string, number> {
  const pairs = new Map<string, number>();
  for (const symbols of words) {
    for (let i = 1; i < symbols.length; i++) {
      const pair = `${symbols[i - 1]} ${symbols[i]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    }
  }
  return pairs;
}

function join2(symbols: readonly string[], left: string, right: string): string[] {
  const joined: string[] = [];
  for (const symbol of symbols) {
    if (joined.at(-1) === left && symbol === right) {
      joined[joined.length - 1] = left + right;
    } else {
      joined.push(symbol);
    }
  }
  return joined;
}

/**
 * Merges that make one token of each word: the commonest pair of symbols first, of equals the first in the alphabet
 * (Sennrich et al. 2016, arXiv 1508.07909, algorithm 1, each word counted once).
 */
export function learnMerges(captions: readonly string[]): string[] {
  const distinct = new Set(captions.flatMap((caption) => caption.toLowerCase().match(/\p{L}+|[^\s\p{L}]+/gu) ?? []));
  let words = [...distinct].sort().map((word) => [...word.slice(0, -1), `${word.at(-1)}</w>`]);
  const merges: string[] = [];
  for (let pairs = pairsOf(words); pairs.size > 0; pairs = pairsOf(words)) {
    const [best] = [...pairs].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))[0]!;
    merges.push(best);
    const [left, right] = best.split(" ") as [string, string];
    words = words.map((symbols) => join2(symbols, left, right));
  }
  return merges;
}

/** Writes merges.txt and vocab.json. Returns the size of the vocabulary; its last two are the start and the end of a text. */
export function writeVocabulary(folder: string, captions: readonly string[]): number {
  const merges = learnMerges(captions);
  const vocabulary = vocabularyOf(merges);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "merges.txt"), `#version: 0.2\n${merges.join("\n")}\n`);
  writeFileSync(join(folder, "vocab.json"), `${JSON.stringify(vocabulary)}\n`);
  return Object.keys(vocabulary).length;
}
