/** Reading protobuf's wire format (protobuf.dev/programming-guides/encoding) from a file of strangers, without holding the file. */

/** This ONNX file is permanently bad: reading it again will not help. */
export class OnnxError extends Error {
  override readonly name = "OnnxError";
}

/** Bytes that can be read anywhere: a file, or what is in memory. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `offset` on; the caller keeps within `size`. */
  read(offset: number, length: number): Uint8Array;
}

/** How a field is encoded. */
export const VARINT = 0;
export const FIXED_64 = 1;
export const BYTES = 2;
export const FIXED_32 = 5;

export interface WireField {
  readonly number: number;
  readonly wire: number;
  /** A VARINT's value. */
  readonly value: bigint;
  /** Where its content lies: [start, end). */
  readonly start: number;
  readonly end: number;
}

/** Bytes read at a time: names and shapes are small, and the weights between them are passed over. */
const PIECE = 2 ** 16;
/** No name or text that is read here is as long. */
const LONGEST_TEXT = 2 ** 16;
const LONGEST_VARINT = 10;

export class WireReader {
  readonly #source: ByteSource;
  #piece: Uint8Array = new Uint8Array(0);
  #pieceStart = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  get size(): number {
    return this.#source.size;
  }

  #byte(at: number): number {
    if (at < this.#pieceStart || at >= this.#pieceStart + this.#piece.length) {
      this.#pieceStart = at;
      this.#piece = this.#source.read(at, Math.min(PIECE, this.size - at));
    }
    return this.#piece[at - this.#pieceStart]!;
  }

  /** The number that begins at `at`, and where it ends. */
  #varint(at: number, end: number): [value: bigint, next: number] {
    let value = 0n;
    for (let i = 0; i < LONGEST_VARINT && at + i < end; i++) {
      const byte = this.#byte(at + i);
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) {
        return [BigInt.asUintN(64, value), at + i + 1];
      }
    }
    throw new OnnxError(`a number at byte ${at} does not end`);
  }

  /** The fields of the message that lies in [start, end), which is within the file. */
  *fields(start: number, end: number): Generator<WireField> {
    let at = start;
    while (at < end) {
      const [tag, content] = this.#varint(at, end);
      const number = Number(tag >> 3n);
      const wire = Number(tag & 7n);
      let [value, from, to] = [0n, content, content];
      if (wire === VARINT) {
        [value, to] = this.#varint(content, end);
      } else if (wire === BYTES) {
        const [length, begin] = this.#varint(content, end);
        [from, to] = [begin, begin + Number(length)];
      } else if (wire === FIXED_64 || wire === FIXED_32) {
        to = content + (wire === FIXED_64 ? 8 : 4);
      } else {
        throw new OnnxError(`the field at byte ${at} has the unknown encoding ${wire}`);
      }
      if (to > end) {
        throw new OnnxError(`the field at byte ${at} goes on to byte ${to}, beyond the ${end} of what holds it`);
      }
      yield { number, wire, value, start: from, end: to };
      at = to;
    }
  }

  text({ start, end }: WireField): string {
    if (end - start > LONGEST_TEXT) {
      throw new OnnxError(`a name of ${end - start} bytes: at most ${LONGEST_TEXT} are allowed`);
    }
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(this.#source.read(start, end - start));
    } catch (cause) {
      throw new OnnxError(`the name at byte ${start} is not text`, { cause });
    }
  }

  /** The whole numbers of a repeated field, packed or one of many; at most `most`. */
  integers({ wire, value, start, end }: WireField, most: number): bigint[] {
    if (wire === VARINT) {
      return [BigInt.asIntN(64, value)];
    }
    const values: bigint[] = [];
    for (let at = start; at < end; ) {
      const [next, after] = this.#varint(at, end);
      if (values.push(BigInt.asIntN(64, next)) > most) {
        throw new OnnxError(`a list of more than ${most} numbers at byte ${start}`);
      }
      at = after;
    }
    return values;
  }
}
