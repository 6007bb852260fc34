import type { ByteSource } from "../onnx/wire.ts";
import { CheckpointError } from "./safetensors.ts";

/** A state dictionary of 10,000 tensors takes a megabyte. */
export const LONGEST_PICKLE = 2 ** 26;
/** Bytes read at a time. */
const PIECE = 2 ** 16;

/** Bytes of a pickle one after another. */
export class PickleBytes {
  readonly #source: ByteSource;
  #piece: Uint8Array = new Uint8Array(0);
  #pieceStart = 0;
  at: number;

  constructor(source: ByteSource, at: number) {
    this.#source = source;
    this.at = at;
  }

  take(length: number): Uint8Array {
    if (length > LONGEST_PICKLE || this.at + length > this.#source.size) {
      throw new CheckpointError(`the pickle ends within something of ${length} bytes`);
    }
    if (this.at + length > this.#pieceStart + this.#piece.length) {
      const end = Math.min(this.at + Math.max(length, PIECE), this.#source.size);
      this.#piece = this.#source.read(this.at, end - this.at);
      this.#pieceStart = this.at;
    }
    const start = this.at - this.#pieceStart;
    this.at += length;
    return this.#piece.subarray(start, start + length);
  }

  number(bytes: 1 | 2 | 4 | 8): number {
    return this.take(bytes).reduceRight((value, byte) => value * 256 + byte, 0);
  }

  text(length: number): string {
    return new TextDecoder().decode(this.take(length));
  }

  line(): string {
    const bytes: number[] = [];
    for (let byte = this.number(1); byte !== 10; byte = this.number(1)) {
      if (bytes.push(byte) > PIECE) throw new CheckpointError("a line of a pickle does not end");
    }
    return new TextDecoder().decode(Uint8Array.from(bytes));
  }
}
