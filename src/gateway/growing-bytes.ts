const FIRST_BYTES = 4096;

/** Bytes that come piece by piece, in one buffer: a list of pieces of a byte each would take a hundred times as much. */
export class GrowingBytes {
  #buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, length, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#length);
    this.#length = length;
  }

  /** All that has come; what comes later may overwrite it after {@link clear}. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** All that has come, which is the caller's then: it begins anew. */
  take(): Buffer {
    const bytes = this.view();
    this.#buffer = Buffer.alloc(0);
    this.#length = 0;
    return bytes;
  }

  clear(): void {
    this.#length = 0;
  }
}
