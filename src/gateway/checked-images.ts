export interface Size {
  readonly width: number;
  readonly height: number;
}

/** How many are remembered: 200 bytes each. */
const REMEMBERED = 10_000;

/** Images that decode: an owner who sends one again, as with other words, need not wait until it is decoded again. */
export class CheckedImages {
  /** By owner and hash, for nobody must learn from the time that it takes what others have sent; the oldest first. */
  readonly #sizes = new Map<string, Size>();

  get(owner: string, hash: string): Size | undefined {
    return this.#sizes.get(`${owner} ${hash}`);
  }

  add(owner: string, hash: string, size: Size): void {
    this.#sizes.set(`${owner} ${hash}`, size);
    if (this.#sizes.size > REMEMBERED) this.#sizes.delete(this.#sizes.keys().next().value!);
  }
}
