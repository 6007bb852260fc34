/** Textual inversions of a request: words of their own for the tokenizer, and their vectors for the text towers. */
import { WORDS } from "../../models/clip.ts";
import type { Embedding } from "../../models/embedding.ts";
import { CheckpointError } from "../../models/safetensors.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import type { GenerationRequest } from "../../schema/generation-request.ts";
import { allFinite } from "../finite.ts";
import type { Once } from "../load.ts";
import type { Run } from "../model.ts";
import type { Tokenizer } from "../tokenizer.ts";

export interface ChosenEmbedding {
  readonly id: string;
  readonly embedding: Embedding;
  /** null = its own. */
  readonly token: string | null;
}

/** What an embedding adds to each tower's vocabulary. */
export interface Word {
  readonly token: string;
  /** For each tower its vectors, one after another. */
  readonly vectors: readonly (readonly Float32Array[])[];
}

/** @throws CheckpointError when two have the same token, or a vector a value that is no number */
export async function readWords(chosen: readonly ChosenEmbedding[], once: Once): Promise<Word[]> {
  const words: Word[] = [];
  for (const { id, embedding, token } of chosen) {
    const own = token ?? embedding.token;
    if (words.some((word) => word.token === own)) {
      throw new CheckpointError(`two of the embeddings have the token "${own}": give one of them another`);
    }
    const outputs = await once(embedding.network);
    const vectors = embedding.shapes.map(([count, width], t) => {
      const data = outputs[`tower_${t}`]!.data as Float32Array;
      if (!allFinite(data)) throw new CheckpointError(`the embedding "${id}" has a value that is no number`);
      return Array.from({ length: count }, (_, i) => data.subarray(i * width, (i + 1) * width));
    });
    words.push({ token: own, vectors });
  }
  return words;
}

const quoted = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A warning of each whose token no prompt has, as when it is misspelled there, or has in another case alone. */
export function unusedEmbeddings(
  chosen: readonly ChosenEmbedding[],
  { prompt, negative_prompt }: Pick<GenerationRequest, "prompt" | "negative_prompt">,
): string[] {
  const text = `${prompt}\n${negative_prompt ?? ""}`;
  return chosen.flatMap(({ id, embedding, token }) => {
    const own = token ?? embedding.token;
    const found = text.match(new RegExp(quoted(own), "giu")) ?? [];
    const other = found.find((written) => written !== own);
    const count = embedding.shapes[0]![0];
    if (found.length === 0) return `the embedding "${id}" changes nothing: its token ${own} stands in neither prompt`;
    if (other === undefined || count === 1) return [];
    return `of the embedding "${id}", ${other} is the first of its ${count} vectors: all of them are written ${own}`;
  });
}

/** The tokens of a word's vectors, as diffusers names them: <t>, <t>_1, <t>_2 … */
const names = ({ token, vectors }: Word) => vectors[0]!.map((_, i) => (i === 0 ? token : `${token}_${i}`));

/**
 * A tokenizer that knows the words too: ids from `first` on, in their order. A word in a text becomes the tokens of all its
 * vectors (diffusers' maybe_convert_prompt), written in its own case; in another case it is its first vector alone. Where two
 * words begin alike, the longer one is meant.
 */
export function withWords(tokenizer: Tokenizer, words: readonly Word[], first: number): Tokenizer {
  const tokens = words.flatMap(names);
  const ids = new Map(tokens.map((token, i) => [token.toLowerCase(), first + i]));
  let next = first;
  const whole = new Map(words.map((word) => [word.token, names(word).map(() => next++)]));
  const longest = [...tokens].sort((a, b) => b.length - a.length).map(quoted);
  const pattern = new RegExp(`(${longest.join("|")})`, "giu");
  const between = (text: string) => (text.trim() === "" ? [] : tokenizer.encode(text).slice(1, -1));
  const known = (part: string) => whole.get(part) ?? [ids.get(part.toLowerCase())!];
  return {
    ...tokenizer,
    together: new Map([...whole.values()].map((all) => [all[0]!, all.length])),
    encode(text) {
      const parts = text.split(pattern); // every second one is a word
      return [tokenizer.bos, ...parts.flatMap((part, i) => (i % 2 === 1 ? known(part) : between(part))), tokenizer.eos];
    },
    decode(all) {
      const parts = all.map((id) => (id >= first ? (tokens[id - first] ?? "") : tokenizer.decode([id])));
      return all.every((id) => id < first) ? tokenizer.decode(all) : parts.join(" ");
    },
  };
}

/** A text tower's run, whose graph has the graft `rows` at its words: ids from `first` on are the words' vectors. */
export function runWithWords(run: Run, words: readonly Word[], tower: number, first: number): Run {
  const vectors = words.flatMap((word) => word.vectors[tower]!);
  const width = vectors[0]!.length;
  return (feeds) => {
    const { dims, data } = feeds.input_ids!;
    const rows = new Float32Array(data.length * width);
    const keep = new Float32Array(data.length).fill(1);
    const known = BigInt64Array.from(data as BigInt64Array);
    for (const [i, id] of known.entries()) {
      const vector = vectors[Number(id) - first];
      if (vector === undefined) continue;
      known[i] = 0n;
      keep[i] = 0;
      rows.set(vector, i * width);
    }
    const replaced: Record<string, Tensor> = {
      input_ids: { dims, data: known },
      [`${WORDS}:keep`]: { dims: [...dims, 1], data: keep },
      [`${WORDS}:rows`]: { dims: [...dims, width], data: rows },
    };
    return run({ ...feeds, ...replaced });
  };
}
