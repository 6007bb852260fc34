/** How long a training may go on: until others have waited for as long as its turn is, and TRAINING_TIMEOUT in all. */
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { type Claim, keepWorked } from "../../src/jobs/attempt.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import type { Running } from "./running.ts";

const LOOK_MS = 1000;
export const TURNS = {
  /** A turn, once it computes; and of what it took to get there so many times. */
  turnMs: 20_000,
  timesPrepared: 5,
  /** A turn that is spent on preparing alone: what is prepared is kept for the next one. */
  preparingMs: 600_000,
};

/** Why a training is stopped before its end. */
export type Over = "turn" | "time";

export interface Turn extends Disposable {
  /** Null as long as it may go on. */
  readonly over: Over | null;
}

/** Watches a training that has just been taken, and has it stop, saved, when its turn or its time is over. */
export function watchTurn(
  redis: Redis,
  claimed: Claim<TrainingRecord>,
  job: Running,
  timeoutSeconds: number,
  { turnMs, timesPrepared, preparingMs }: Readonly<typeof TURNS>,
  log: Logger,
): Turn {
  const begun = performance.now();
  const from = claimed.record.progress.step;
  let computing: number | null = null;
  let over: Over | null = null;
  const stop = (why: Over) => {
    over = why;
    job.ask("yield");
  };
  const look = async () => {
    const took = performance.now() - begun;
    if (job.told > from) computing ??= took;
    const worked = claimed.workedMs + took;
    const others = await keepWorked(redis, claimed, worked);
    if (over !== null || job.asked !== null) return;
    const turn = computing === null ? preparingMs : computing + Math.max(turnMs, timesPrepared * computing);
    if (worked > timeoutSeconds * 1000) stop("time");
    else if (others > 0 && took > turn) stop("turn");
  };
  const timer = setInterval(() => look().catch((error) => log.debug({ err: error }, "turn")), LOOK_MS);
  return {
    get over() {
      return over;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
