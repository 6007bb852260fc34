/** From a prompt to the chunks of token ids that a CLIP text tower reads, each token with its weight. */
import type { LongPrompt, PromptSyntax } from "../schema/generation-request.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A piece of a prompt whose tokens have one weight. */
export interface WeightedText {
  readonly text: string;
  readonly weight: number;
}

/** What one run of a text tower reads: 77 ids from beginning to end token and padding, with a weight each. */
export interface Chunk {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

const EMPHASIS = 1.1;
const BREAK = /(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/u;
/** An escaped character, a weight that ends a bracket, a bracket, or text in between. */
const PIECES = /\\([()[\]\\]?)|:\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)|[()[\]:]|[^\\()[\]:]+/g;

/**
 * The emphasis of AUTOMATIC1111/stable-diffusion-webui (parse_prompt_attention in modules/prompt_parser.py): (text) × 1.1,
 * (text:w) × w, [text] ÷ 1.1, nested ones multiplied; \( \) \[ \] \\ are the characters. A bracket that is never closed
 * reaches to the end, one that was never opened is text.
 * @returns the sections between BREAKs. One inside brackets counts too; there, it is a word of negative weight.
 */
export function parseWeighted(prompt: string): WeightedText[][] {
  const spans: { text: string | typeof BREAK; weight: number }[] = [];
  const opened: Record<"(" | "[", number[]> = { "(": [], "[": [] };
  const multiply = (from: number, factor: number) => {
    for (let i = from; i < spans.length; i++) {
      spans[i]!.weight *= factor;
    }
  };
  /** Whether there was a bracket to close. */
  const close = (bracket: "(" | "[", factor: number): boolean => {
    const from = opened[bracket].pop();
    if (from !== undefined) {
      multiply(from, factor);
    }
    return from !== undefined;
  };
  const brackets: Record<string, () => boolean> = {
    "(": () => opened["("].push(spans.length) > 0,
    "[": () => opened["["].push(spans.length) > 0,
    ")": () => close("(", EMPHASIS),
    "]": () => close("[", 1 / EMPHASIS),
  };

  for (const [piece, escaped, weight] of prompt.matchAll(PIECES)) {
    if (escaped !== undefined) {
      spans.push({ text: escaped, weight: 1 });
    } else if (weight !== undefined ? !close("(", Number(weight)) : !brackets[piece]?.()) {
      for (const [i, text] of piece.split(BREAK).entries()) {
        spans.push(...(i > 0 ? [{ text: BREAK, weight: 1 }] : []), { text, weight: 1 });
      }
    }
  }
  for (const from of opened["("]) {
    multiply(from, EMPHASIS);
  }
  for (const from of opened["["]) {
    multiply(from, 1 / EMPHASIS);
  }

  const sections: WeightedText[][] = [[]];
  for (const { text, weight } of spans) {
    if (text === BREAK) {
      sections.push([]);
    } else {
      sections.at(-1)!.push({ text: text as string, weight });
    }
  }
  return sections.map(merge);
}

/** Neighbours of one weight as one span: their tokens may reach across. */
function merge(spans: readonly WeightedText[]): WeightedText[] {
  const merged: WeightedText[] = [];
  for (const { text, weight } of spans) {
    const last = merged.at(-1);
    if (last?.weight === weight) {
      merged[merged.length - 1] = { text: last.text + text, weight };
    } else {
      merged.push({ text, weight });
    }
  }
  return merged;
}

const SYNTAXES = {
  plain: (prompt) => [[{ text: prompt, weight: 1 }]],
  weighted: parseWeighted,
} satisfies Record<PromptSyntax, (prompt: string) => WeightedText[][]>;

interface Token {
  readonly id: number;
  readonly weight: number;
}

/** A chunk that would be cut ends after its last comma instead, when no more than this many tokens follow it (A1111's default). */
const COMMA_BACKTRACK = 20;

/** How many tokens from the one at `i` on are one word of several vectors. */
function lengthAt(tokens: readonly Token[], i: number, together: Tokenizer["together"]): number {
  const { id } = tokens[i]!;
  const length = together.get(id) ?? 1;
  return tokens[i + length - 1]?.id === id + length - 1 ? length : 1;
}

/** Tokens in pieces of at most `size`, as tokenize_line in A1111's modules/sd_hijack_clip.py makes them: words of vectors stay whole. */
function splitAtCommas(tokens: readonly Token[], size: number, comma: number, together: Tokenizer["together"]) {
  const pieces: Token[][] = [];
  let current: Token[] = [];
  let lastComma = -1;
  for (const [i, token] of tokens.entries()) {
    const length = lengthAt(tokens, i, together);
    if (current.length + length > size) {
      const near = length === 1 && token.id !== comma && lastComma !== -1 && size - lastComma <= COMMA_BACKTRACK;
      const end = near ? lastComma + 1 : size;
      pieces.push(current.slice(0, end));
      current = current.slice(end);
      lastComma = -1;
    } else if (token.id === comma) {
      lastComma = current.length;
    }
    current.push(token);
  }
  return current.length > 0 ? [...pieces, current] : pieces;
}

/** What becomes of a section's tokens: the pieces that are read, and what is cut off. */
const LONG_PROMPTS = {
  truncate: (tokens, size) => ({ pieces: [tokens.slice(0, size)], rest: tokens.slice(size) }),
  chunk: (tokens, size, comma, together) => ({ pieces: splitAtCommas(tokens, size, comma, together), rest: [] }),
} satisfies Record<
  LongPrompt,
  (
    tokens: Token[],
    size: number,
    comma: number,
    together: Tokenizer["together"],
  ) => { pieces: Token[][]; rest: Token[] }
>;

export interface Chunks {
  /** At least one. */
  readonly chunks: readonly Chunk[];
  /** The text that was cut off, as the tower would have read it. */
  readonly truncated: readonly string[];
}

/** Every step attends to every chunk, and each takes its time and memory. */
const MAX_CHUNKS = 32;

/** A prompt's chunks for one text tower, at most MAX_CHUNKS. The empty prompt is one chunk without words. */
export function chunkPrompt(prompt: string, syntax: PromptSyntax, long: LongPrompt, tokenizer: Tokenizer): Chunks {
  const idsOf = (text: string) => tokenizer.encode(text).slice(1, -1);
  const size = tokenizer.length - 2;
  const [comma] = idsOf(",") as [number];
  const chunks: Token[][] = [];
  const truncated: string[] = [];
  const sections = SYNTAXES[syntax](prompt);
  for (const [i, spans] of sections.entries()) {
    const tokens = spans.flatMap(({ text, weight }) => idsOf(text).map((id) => ({ id, weight })));
    if (tokens.length === 0 && i === sections.length - 1 && chunks.length > 0) {
      break; // nothing after the last BREAK
    }
    const { pieces, rest } = LONG_PROMPTS[long](tokens, size, comma, tokenizer.together);
    chunks.push(...(pieces.length > 0 ? pieces : [[]]));
    if (rest.length > 0) {
      truncated.push(tokenizer.decode(rest.map(({ id }) => id)));
    }
  }
  const beyond = chunks.splice(MAX_CHUNKS).flat();
  if (beyond.length > 0) {
    truncated.push(tokenizer.decode(beyond.map(({ id }) => id)));
  }
  return { chunks: chunks.map((tokens) => frame(tokens, tokenizer)), truncated };
}

/** Beginning token, tokens, end token, padding. */
function frame(tokens: readonly Token[], { bos, eos, pad, length }: Tokenizer): Chunk {
  const ids = [bos, ...tokens.map(({ id }) => id), eos];
  const weights = [1, ...tokens.map(({ weight }) => weight), 1];
  const missing = length - ids.length;
  return {
    ids: [...ids, ...Array<number>(missing).fill(pad)],
    weights: [...weights, ...Array<number>(missing).fill(1)],
  };
}
