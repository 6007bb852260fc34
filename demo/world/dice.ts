import { NoiseGenerator } from "../../src/diffusion/noise.ts";

/** Chance by seed: the same throws in the same order, always. */
export class Dice {
  readonly #source: NoiseGenerator;
  #thrown: Float32Array = new Float32Array(0);
  #next = 0;

  constructor(seed: number) {
    this.#source = new NoiseGenerator(seed);
  }

  /** 0 … 1, without 1. */
  share(): number {
    if (this.#next === this.#thrown.length) {
      this.#thrown = this.#source.uniform(64);
      this.#next = 0;
    }
    return this.#thrown[this.#next++]!;
  }

  between(low: number, high: number): number {
    return low + this.share() * (high - low);
  }

  /** low … high, both included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.share() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.share() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.share() * from.length)]!;
  }

  shuffled<T>(list: readonly T[]): T[] {
    const keyed = list.map((item) => [this.share(), item] as const);
    return keyed.sort(([a], [b]) => a - b).map(([, item]) => item);
  }
}
