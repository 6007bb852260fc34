/** Everything random about a training, by seed and position alone: a run that goes on from step n draws what it would have drawn. */
import { NoiseGenerator } from "../diffusion/noise.ts";

/** A generator of its own for each place of a run. Neighbouring seeds of a Mersenne Twister are unrelated. */
const generator = (seed: number, stream: number) =>
  new NoiseGenerator((seed % 2 ** 32) + ((stream * 0x9e3779b1) % 2 ** 32));

/** The order in which epoch `epoch` shows `count` pairs (Fisher & Yates; Knuth, volume 2, algorithm P). */
export function order(seed: number, epoch: number, count: number): Uint32Array {
  const random = generator(seed, 2 * epoch + 1).uniform(count);
  const places = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random[i]! * (i + 1));
    [places[i], places[j]] = [places[j]!, places[i]!];
  }
  return places;
}

/** One row of a batch. */
export interface Row {
  /** Which pair of the dataset. */
  readonly pair: number;
  readonly emptyPrompt: boolean;
  readonly flipped: boolean;
  /** 0 … 1, for whatever else the row chooses: its timestep, its crop. */
  readonly choices: readonly [number, number];
}

export interface BatchDraw {
  readonly rows: readonly Row[];
  readonly noise: NoiseGenerator;
}

export interface DrawSettings {
  readonly seed: number;
  readonly train_batch_size: number;
  readonly proportion_empty_prompts: number;
  readonly random_flip: boolean;
}

/** Draws batch after batch of a dataset of `count` pairs; every epoch shows each pair once. */
export class Draws {
  readonly #settings: DrawSettings;
  readonly #count: number;
  #epoch = -1;
  #order: Uint32Array = new Uint32Array(0);

  constructor(settings: DrawSettings, count: number) {
    this.#settings = settings;
    this.#count = count;
  }

  /** Batch number `index` of the run, from 0. */
  batch(index: number): BatchDraw {
    const { seed, train_batch_size: size, proportion_empty_prompts: empty, random_flip } = this.#settings;
    const noise = generator(seed, 2 * index + 2);
    const random = noise.uniform(4 * size);
    const rows = Array.from({ length: size }, (_, i): Row => {
      const [prompt, flip, first, second] = random.subarray(4 * i, 4 * i + 4) as unknown as [
        number,
        number,
        number,
        number,
      ];
      return {
        pair: this.#pair(index * size + i),
        emptyPrompt: prompt < empty,
        flipped: random_flip && flip < 0.5,
        choices: [first, second],
      };
    });
    return { rows, noise };
  }

  #pair(position: number): number {
    const epoch = Math.floor(position / this.#count);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#order = order(this.#settings.seed, epoch, this.#count);
    }
    return this.#order[position % this.#count]!;
  }
}
