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
const URI = '"data:';
const QUOTATION_MARK = Buffer.from('"', "latin1");
const [QUOTE, BACKSLASH] = [0x22, 0x5c];

/** The text of JSON without its long data: URIs. */
export interface SplitJson {
  readonly rest: Buffer;
  /** What stands for the data: URI number i in `rest` is this and i; no client can know it. */
  readonly mark: string;
  /** As in the text: escaped, between quotes. */
  readonly uris: readonly Buffer[];
}

/** Whether a string begins as a data: URI does, as far as it is known. */
const mayBeUri = (string: Buffer) => URI.startsWith(string.toString("latin1", 0, URI.length).toLowerCase());

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
  /** The string that is being read, from its quote on, when one is: the end of a text that is no JSON may lie in one. */
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
    for (let at = 0; at < piece.length; ) at = this.#inString ? this.#goOnWithString(piece, at) : this.#goOn(piece, at);
    this.#toCome -= piece.length;
    if (this.#inString && this.#string.length > LARGE_BYTES) this.#string.expect(this.#string.length + this.#toCome);
    const open = this.#inString && !mayBeUri(this.#string.view()) ? this.#string.length : 0;
    if (this.#rest.length + open > this.#most) throw tooLargeBody(this.#most, "the JSON, beside its data: URIs,");
  }

  /** Takes what is in no string, and the string after it; copies none that is in the piece as a whole. Returns what comes next. */
  #goOn(piece: Buffer, from: number): number {
    const start = piece.indexOf(QUOTE, from);
    this.#rest.append(piece.subarray(from, start === -1 ? piece.length : start));
    if (start === -1) return piece.length;
    const end = this.#endOfString(piece, start + 1);
    if (end === -1) {
      this.#inString = true;
      this.#string.append(piece.subarray(start));
      return piece.length;
    }
    const string = piece.subarray(start, end + 1);
    this.#keep(string, () => string);
    return end + 1;
  }

  #goOnWithString(piece: Buffer, from: number): number {
    const end = this.#endOfString(piece, from);
    this.#string.append(piece.subarray(from, end === -1 ? piece.length : end + 1));
    if (end === -1) return piece.length;
    this.#endString();
    return end + 1;
  }

  end(): SplitJson {
    if (this.#inString) {
      this.#string.append(QUOTATION_MARK);
      this.#endString();
    }
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

  #endString(): void {
    this.#inString = false;
    this.#keep(this.#string.view(), () => this.#string.take());
    this.#string.clear();
  }

  /** Keeps a string, in the rest or beside it. @param own gives it as one that stays */
  #keep(string: Buffer, own: () => Buffer): void {
    const isUri = string.length - 2 > LONG_URI_BYTES && mayBeUri(string);
    this.#rest.append(isUri ? Buffer.from(`"${this.#mark}${this.#uris.push(own()) - 1}"`) : string);
  }
}
