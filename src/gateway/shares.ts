import { NotReady } from "../errors.ts";

/** What one request has taken of {@link Shares}. */
export interface Share {
  /** @throws {NotReady} when the owner, or all together, would have too much */
  add(count: number): void;
  release(): void;
}

/** Something of which clients may have so much at once, in all and each owner. */
export class Shares {
  readonly #most: number;
  readonly #mostOfOwner: number;
  readonly #what: string;
  readonly #byOwner = new Map<string, number>();
  #all = 0;

  /** @param what as in "more than 5 …" */
  constructor(most: number, mostOfOwner: number, what: string) {
    this.#most = most;
    this.#mostOfOwner = mostOfOwner;
    this.#what = what;
  }

  open(owner: string): Share {
    let taken = 0;
    return {
      add: (count) => {
        this.#check(owner, count);
        this.#count(owner, count);
        taken += count;
      },
      release: () => {
        this.#count(owner, -taken);
        taken = 0;
      },
    };
  }

  #check(owner: string, count: number): void {
    const own = (this.#byOwner.get(owner) ?? 0) + count;
    if (own > this.#mostOfOwner) throw new NotReady([`this key has more than ${this.#mostOfOwner} ${this.#what}`]);
    if (this.#all + count > this.#most) throw new NotReady([`there are more than ${this.#most} ${this.#what}`]);
  }

  #count(owner: string, count: number): void {
    const own = (this.#byOwner.get(owner) ?? 0) + count;
    if (own === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, own);
    this.#all += count;
  }
}
