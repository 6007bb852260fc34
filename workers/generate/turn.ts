/**
 * Fair on one worker: a long generation gives way to a short one. Once it has had a turn, and something shorter or more urgent
 * waits, it is saved as for a takeover and goes back to its place in the queue; what it gave way to is taken before it. So one
 * generation computes at a time, within MEMORY_BUDGET as ever, and its bytes are those it has alone.
 *
 * One that would be done as soon as it could be stopped and got ready anew goes on. No stream of short ones keeps it from its end: it
 * lets nothing go first that is longer than half of what is left of it, and before it gives way again to one as urgent it does as much work as the last one took. So at most one and a half times its own
 * work comes in between.
 *
 * Getting ready may take longer than all evaluations, as with dozens of large images: then it gives way before the first one, and
 * the worker keeps what it has made of them. Should that be gone when it goes on, it gets further all the same, for each such turn is
 * as long as all before it.
 */
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { isFresh } from "../../src/diffusion/reuse.ts";
import type { Claim, PlaceKept } from "../../src/jobs/attempt.ts";
import type { GenerationRecord } from "../../src/jobs/generation.ts";
import { shorterThan } from "../../src/jobs/short.ts";
import { generationCost } from "../../src/schema/generation-request.ts";
import { freeBytes, RESERVE_BYTES } from "../../src/storage/room.ts";

/** How often is looked whether something shorter waits. */
const LOOK_MS = 200;
/** A turn in which it only gets ready; or as long as all its turns before. */
const PREPARING_MS = 2000;
/** A turn, in which it computes; and of what it took to get there so many times. */
const TURN_MS = 500;
const TIMES_PREPARED = 2;

/** What a generation that gives way says of itself, and the id of the job that goes first. */
export type GivesWay = PlaceKept & { first: string };

export interface GenerationTurn extends Disposable {
  /** An evaluation is done. */
  hear(step: number): void;
  /** Null = it goes on. */
  readonly givesWay: GivesWay | null;
  /** For how long it has been worked on, in all its turns; getting ready anew for the next one is not counted twice. */
  readonly workedMs: number;
}

/** What of a generation under way a turn goes by: when its evaluations were done. */
class Pace {
  readonly #from: number;
  readonly #preparingMs: number;
  readonly #begun = performance.now();
  #first: number | null = null;
  #prepared: number | null = null;
  #step: number;
  #fresh = 0;
  /** It began anew, for nothing that was saved could be taken up: what is saved now could be lost in the same way. */
  #isAnew = false;

  /** @param workedMs for how long it has been worked on before */
  constructor(from: number, workedMs: number) {
    this.#from = from;
    this.#preparingMs = Math.max(PREPARING_MS, workedMs);
    this.#step = from;
  }

  hear(request: GenerationRecord["request"], step: number): void {
    const took = performance.now() - this.#begun;
    if (this.#first === null) {
      this.#first = took;
      this.#isAnew = step !== this.#from + 1;
    } else this.#prepared ??= Math.max(0, this.#first - (took - this.#first)); // less the first evaluation
    this.#step = step;
    if (isFresh(request, step)) this.#fresh = step;
  }

  /** For how long it has computed. */
  get computedMs(): number {
    return performance.now() - this.#begun - (this.#prepared ?? 0);
  }

  /** No evaluation is done yet. */
  get isPreparing(): boolean {
    return this.#first === null;
  }

  /** Whether it has had its turn, and would lose at most the evaluation under way. */
  get isOver(): boolean {
    if (this.isPreparing) return this.computedMs >= this.#preparingMs;
    if (this.#prepared === null || this.#isAnew) return false;
    if (this.#fresh <= this.#from || this.#step - this.#fresh > 1) return false;
    return this.computedMs >= Math.max(TURN_MS, TIMES_PREPARED * this.#prepared);
  }

  /** Whether it would take no longer to its end than to get ready anew, or than a look: whoever waits, waits for that at most. */
  isNearly(total: number): boolean {
    const rest = (this.computedMs / this.done) * (total - this.#step);
    return rest <= Math.max(LOOK_MS, this.#prepared ?? 0);
  }

  get done(): number {
    return this.#step - this.#from;
  }

  get step(): number {
    return this.#step;
  }
}

/** Watches a generation that has just been taken, and asks it to stop, saved, when it is to give way. */
export function watchGeneration(
  redis: Redis,
  claimed: Claim<GenerationRecord>,
  dataDir: string,
  stop: () => void,
  log: Logger,
): GenerationTurn {
  const { request, progress } = claimed.record;
  const pace = new Pace(progress.step, claimed.workedMs);
  const costOfOne = generationCost(request) / progress.total;
  let givesWay: GivesWay | null = null;
  const look = async () => {
    if (givesWay !== null || !pace.isOver || pace.isNearly(progress.total)) return;
    const left = costOfOne * (progress.total - pace.step);
    const owed = Math.max(0, claimed.owed - costOfOne * pace.done);
    // Where the disk is full nothing is saved, and it would begin anew.
    if ((await freeBytes(dataDir)) < RESERVE_BYTES) return;
    const first = await shorterThan(redis, claimed, left, owed > 0 && !pace.isPreparing);
    if (first === null || givesWay !== null) return;
    givesWay = { first: first.id, left, owed: first.isMoreUrgent ? owed : Math.max(owed, first.cost) };
    log.info({ to: first.id, step: pace.step }, "gives way");
    stop();
  };
  const timer = setInterval(() => look().catch((error) => log.debug({ err: error }, "turn")), LOOK_MS).unref();
  return {
    hear: (step) => pace.hear(request, step),
    get givesWay() {
      return givesWay;
    },
    get workedMs() {
      return claimed.workedMs + pace.computedMs;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
