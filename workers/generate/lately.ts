/** What was made lately, by what it was made of, within a bound of bytes; what was asked for longest ago goes first. */
export class Lately<Made> {
  readonly #most: number;
  readonly #bytesOf: (made: Made) => number;
  /** In order of last use, the oldest first. */
  readonly #made = new Map<string, Made>();
  #bytes = 0;

  constructor(most: number, bytesOf: (made: Made) => number) {
    this.#most = most;
    this.#bytesOf = bytesOf;
  }

  async get(key: string, make: () => Promise<Made>): Promise<Made> {
    const made = this.#made.get(key) ?? (await make());
    this.#drop(key);
    this.#made.set(key, made);
    this.#bytes += this.#bytesOf(made);
    for (const oldest of this.#made.keys()) {
      if (this.#bytes <= this.#most) break;
      this.#drop(oldest);
    }
    return made;
  }

  #drop(key: string): void {
    const made = this.#made.get(key);
    if (made === undefined) return;
    this.#bytes -= this.#bytesOf(made);
    this.#made.delete(key);
  }
}
