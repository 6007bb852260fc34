import type { MadeMap } from "./made.ts";

/** Bytes of maps that are kept: at 512² a map takes 0.8 MB. */
const MOST_BYTES = 128 * 2 ** 20;

/** Maps by what they were made of, within a bound; those that were asked for longest ago go first. */
export class MapCache {
  /** In order of last use, the oldest first. */
  readonly #maps = new Map<string, MadeMap>();
  #bytes = 0;

  async get(key: string, make: () => Promise<MadeMap>): Promise<MadeMap> {
    const made = this.#maps.get(key) ?? (await make());
    this.#drop(key);
    this.#maps.set(key, made);
    this.#bytes += made.map.data.length;
    for (const oldest of this.#maps.keys()) {
      if (this.#bytes <= MOST_BYTES) break;
      this.#drop(oldest);
    }
    return made;
  }

  #drop(key: string): void {
    this.#bytes -= this.#maps.get(key)?.map.data.length ?? 0;
    this.#maps.delete(key);
  }
}
