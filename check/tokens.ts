import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chunkPrompt } from "../src/diffusion/prompt.ts";
import { loadTokenizer } from "../src/diffusion/tokenizer.ts";
import type { Finding } from "./finding.ts";

interface Entry {
  text: string;
  input_ids: number[];
  input_ids_untruncated: number[];
}

function differences(actual: number[], expected: number[]): number {
  const length = Math.max(actual.length, expected.length);
  return Array.from({ length }, (_, k) => k).filter((k) => actual[k] !== expected[k]).length;
}

/** Every text of `<dir>/tokens.json` with the vocabulary that ships with the project: how many ids differ, none may. */
export async function check(dir: string): Promise<Finding[]> {
  const tokenizer = loadTokenizer(join(import.meta.dirname, "../assets/clip-vocab"));
  const entries = JSON.parse(readFileSync(join(dir, "tokens.json"), "utf8")) as Entry[];
  return entries.map(({ text, input_ids, input_ids_untruncated }) => ({
    subject: `tokens ${JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)}`,
    error:
      differences([...chunkPrompt(text, "plain", "truncate", tokenizer).chunks[0]!.ids], input_ids) +
      differences(tokenizer.encode(text), input_ids_untruncated),
    bound: 0,
  }));
}
