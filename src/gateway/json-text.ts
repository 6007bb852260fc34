/**
 * JSON as it comes in, in two parts: long data: URIs as they are, and the rest of the text, which is small and parsed at once. So
 * a body of 30 MB costs the event loop what its fields cost, not what its images do, and one without images is short.
 */
import { randomUUID } from "node:crypto";
import { tooLargeBody } from "./arriving.ts";
import { GrowingBytes } from "./growing-bytes.ts";

/** Shorter ones stay in the rest: they may be anything that begins like one. */
const LONG_URI_BYTES = 4096;
/** The rest of a body is likely to be of the same one as these. */
const LARGE_BYTES = 2 ** 20;
const URI = "data:";
const QUOTATION_MARK = Buffer.from('"', "latin1");
const [QUOTE, BACKSLASH] = [0x22, 0x5c];

/** The text of JSON without its long data: URIs. */
export interface SplitJson {
  readonly rest: Buffer;
  /** What stands for the data: URI number i in `rest` is this and i; no client can know it. */
  readonly mark: string;
  /** As in the text: escaped, without quotes. */
  readonly uris: readonly Buffer[];
}

/** So many bytes are looked at before the search for a byte is called: each call takes as long as that. */
const NEAR_BYTES = 16;

/** Where the next quote is; of a string of nothing but escaped quotes there are millions. */
function nextQuote(piece: Buffer, from: number): number {
  const near = Math.min(from + NEAR_BYTES, piece.length);
  for (let at = from; at < near; at++) if (piece[at] === QUOTE) return at;
  return piece.indexOf(QUOTE, near);
}

export class JsonSplitter {
  readonly #most: number;
  readonly #mark = `${randomUUID()}#`;
  readonly #uris: Buffer[] = [];
  readonly #rest = new GrowingBytes();
  /** The string that is being read, when one is: the end of a text that is no JSON may lie in one. */
  readonly #string = new GrowingBytes();
  /** What is still to come of the body. */
  #toCome: number;
  #inString = false;
  /** Whether an odd number of backslashes stands before the next byte of the string. */
  #escaped = false;

  /** @param most bytes beside long data: URIs @param announced how many are to come in all; 0 = nobody knows */
  constructor(most: number, announced = 0) {
    this.#most = most;
    this.#toCome = announced;
  }

  /** @throws {Refused} 413 when there is more than may be beside data: URIs */
  push(piece: Buffer): void {
    for (let at = 0; at < piece.length; ) {
      const quote = this.#inString ? this.#endOfString(piece, at) : piece.indexOf(QUOTE, at);
      const part = piece.subarray(at, quote === -1 ? piece.length : quote);
      (this.#inString ? this.#string : this.#rest).append(part);
      at += part.length + 1;
      if (quote === -1) break;
      if (this.#inString) this.#endString();
      this.#inString = !this.#inString;
    }
    this.#toCome -= piece.length;
    if (this.#inString && this.#string.length > LARGE_BYTES) this.#string.expect(this.#string.length + this.#toCome);
    const open = this.#inString && !this.#mayBeUri() ? this.#string.length : 0;
    if (this.#rest.length + open > this.#most) throw tooLargeBody(this.#most, "the JSON, beside its data: URIs,");
  }

  end(): SplitJson {
    if (this.#inString) this.#endString();
    return { rest: this.#rest.view(), mark: this.#mark, uris: this.#uris };
  }

  /** Where the quote is that ends the string; -1 = not in this piece. */
  #endOfString(piece: Buffer, from: number): number {
    for (let at = from; ; ) {
      const quote = nextQuote(piece, at);
      const end = quote === -1 ? piece.length : quote;
      let first = end;
      while (first > at && piece[first - 1] === BACKSLASH) first--;
      const escaped = (end - first + (first === at && this.#escaped ? 1 : 0)) % 2 === 1;
      this.#escaped = quote === -1 && escaped;
      if (quote === -1 || !escaped) return quote;
      at = quote + 1;
    }
  }

  /** Whether the string begins as a data: URI does, as far as it is known. */
  #mayBeUri(): boolean {
    return URI.startsWith(this.#string.view().toString("latin1", 0, URI.length).toLowerCase());
  }

  #endString(): void {
    const isUri = this.#string.length > LONG_URI_BYTES && this.#mayBeUri();
    const kept = isUri ? Buffer.from(`${this.#mark}${this.#uris.push(this.#string.take()) - 1}`) : this.#string.view();
    for (const part of [QUOTATION_MARK, kept, QUOTATION_MARK]) this.#rest.append(part);
    this.#string.clear();
  }
}
