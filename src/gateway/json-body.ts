/** The parser of JSON bodies: what is large in them is cut out as it comes in, and put where it belongs when the rest has been parsed. */
import { Refused } from "../errors.ts";
import { JsonSplitter, type SplitJson } from "./json-text.ts";

type Container = Record<string, unknown>;

/**
 * @param most bytes beside long data: URIs
 * @param announced how many bytes are to come; 0 = nobody knows
 * @returns undefined when there is no body
 * @throws {Refused} 400 when it is not JSON in UTF-8
 */
export async function parseJsonBody(pieces: AsyncIterable<Buffer>, most: number, announced = 0): Promise<unknown> {
  const splitter = new JsonSplitter(most, announced);
  let isEmpty = true;
  for await (const piece of pieces) {
    isEmpty = false;
    splitter.push(piece);
  }
  if (isEmpty) return undefined;
  const split = splitter.end();
  const rest = textOf(split.rest);
  if (/^\s*$/.test(rest)) return undefined;
  const parsed = { body: parse(rest) };
  if (split.uris.length > 0) restore(parsed, split);
  return parsed.body;
}

/** @throws {Refused} */
function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes); // takes a byte order mark away
  } catch {
    throw new Refused(400, "not_json", "the body is not valid UTF-8");
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(400, "not_json", "the body is not valid JSON");
  }
}

/** Shorter strings are parsed in half the time that it takes to see that they need not be; megabytes in more than twice. */
const LONG_BYTES = 2 ** 18;

/** The string that stands in JSON as these bytes, which quotes begin and end. @throws {Refused} */
function stringOf(bytes: Buffer): unknown {
  if (bytes.length > LONG_BYTES) {
    const text = bytes.toString("latin1", 1, bytes.length - 1);
    if (!/[^ -[\]-~]/.test(text)) return text;
  }
  return parse(textOf(bytes));
}

/** Puts data: URIs back. Not by recursion: what is nested 20,000 times would end it. */
function restore(whole: Container, { mark, uris }: SplitJson): void {
  const containers = [whole];
  for (let of = containers.pop(); of !== undefined; of = containers.pop()) {
    for (const [key, value] of Object.entries(of)) {
      if (key.startsWith(mark))
        throw new Refused(400, "invalid_request", "a field's name is a data: URI of more than 4096 bytes");
      if (typeof value === "string" && value.startsWith(mark)) {
        const text = stringOf(uris[Number(value.slice(mark.length))]!);
        Object.defineProperty(of, key, { value: text, enumerable: true, writable: true, configurable: true }); // __proto__ too
      } else if (typeof value === "object" && value !== null) {
        containers.push(value as Container);
      }
    }
  }
}
