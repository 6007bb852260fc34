/** The parser of JSON bodies: what is large in them is cut out as it comes in, and put where it belongs when the rest has been parsed. */
import { Refused } from "../errors.ts";
import { MOST_SHOWN } from "../schema/closed.ts";
import { JsonSplitter, type SplitJson } from "./json-text.ts";

/** The key that would name an object's prototype: it would be lost on the way, or worse. */
const PROTOTYPE = "__proto__";

type Container = Record<string, unknown>;
/** A container in a value, and how it is reached. */
interface Place {
  readonly of: Container;
  readonly key: string;
  readonly parent: Place | null;
}

/**
 * @param most bytes beside long data: URIs
 * @returns undefined when there is no body
 * @throws {Refused} 400 when it is not JSON in UTF-8, or has a field `__proto__`
 */
export async function readJson(pieces: AsyncIterable<Buffer>, most: number): Promise<unknown> {
  const splitter = new JsonSplitter(most);
  let isEmpty = true;
  for await (const piece of pieces) {
    isEmpty = false;
    splitter.push(piece);
  }
  if (isEmpty) return undefined;
  const split = splitter.end();
  const rest = textOf(split.rest);
  const parsed = { body: parse(rest) };
  if (split.uris.length > 0 || /__proto__|\\u/.test(rest)) restore(parsed, split);
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

/** Puts data: URIs back, and looks at the name of each field. Not by recursion: what is nested 20,000 times would end it. */
function restore(whole: Container, { mark, uris }: SplitJson): void {
  const places: Place[] = [{ of: whole, key: "", parent: null }];
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    for (const [key, value] of Object.entries(place.of)) {
      if (key === PROTOTYPE) throw forbidden(place, PROTOTYPE, `a field must not have the name ${PROTOTYPE}`);
      if (key.startsWith(mark)) throw forbidden(place, "", "a field's name is a data: URI of more than 4096 bytes");
      if (typeof value === "string" && value.startsWith(mark)) {
        place.of[key] = parse(`"${textOf(uris[Number(value.slice(mark.length))]!)}"`);
      } else if (typeof value === "object" && value !== null) {
        places.push({ of: value as Container, key, parent: place });
      }
    }
  }
}

function forbidden(place: Place, key: string, message: string): Refused {
  const keys = key === "" ? [] : [key];
  for (let at = place; at.parent?.parent; at = at.parent) keys.push(at.key); // the body itself has no name
  const named = keys.reverse().map((name) => (/^\d+$/.test(name) ? `[${name}]` : `.${name}`));
  const path = named.join("").replace(/^\./, "").slice(0, MOST_SHOWN);
  return new Refused(400, "invalid_request", path === "" ? message : `${path}: ${message}`, [{ path, message }]);
}
