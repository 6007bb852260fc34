import type { TrainingRecord } from "../../src/jobs/training.ts";

/** The training under way, as the trainer's main thread sees it. */
export interface Running {
  readonly id: string;
  asked: "cancel" | "yield" | null;
  /** The last step that is told of for certain. */
  told: number;
  readonly stop: Int32Array<SharedArrayBuffer>;
  /** Resolves when it is asked to stop. */
  readonly stopped: Promise<void>;
  ask(what: "cancel" | "yield"): void;
  /** Resolves when nothing of it runs any more. */
  ended: Promise<unknown>;
}

export function startRunning({ id, progress }: TrainingRecord): Running {
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  return {
    id,
    asked: null,
    told: progress.step,
    stop: new Int32Array(new SharedArrayBuffer(4)),
    stopped,
    ask(what) {
      this.asked = this.asked === "cancel" ? "cancel" : what;
      Atomics.store(this.stop, 0, 1);
      resolve();
    },
    ended: Promise.resolve(),
  };
}
