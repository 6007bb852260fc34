const FIRST_BYTES = 4096;

/** Bytes that come piece by piece, in one buffer: a list of pieces of a byte each would take a hundred times as much. */
export class GrowingBytes {
  #expected: number;
  #buffer = Buffer.alloc(0);
  #length = 0;

  /** @param expected so many are to come: they are then not moved as more come in */
  constructor(expected = 0) {
    this.#expected = expected;
  }

  /** From now on so many bytes in all are expected. */
  expect(bytes: number): void {
    this.#expected = bytes;
  }

  get length(): number {
    return this.#length;
  }

  append(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, this.#expected, length, 2 * this.#buffer.length));
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
    const bytes = this.#buffer.length > 2 * this.#length ? Buffer.from(this.view()) : this.view();
    this.#buffer = Buffer.alloc(0);
    this.#length = 0;
    this.#expected = 0;
    return bytes;
  }

  clear(): void {
    this.#length = 0;
  }
}
