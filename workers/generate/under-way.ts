/** A job on the engine thread that may be asked to stop. */
import { setImmediate } from "node:timers/promises";

/** What runs, and whether it is to stop. */
export interface UnderWay {
  readonly id: string;
  asked: "cancel" | "yield" | null;
  /** Aborts when it is asked to stop. */
  readonly stop: AbortController;
}

export const begun = (id: string): UnderWay => ({ id, asked: null, stop: new AbortController() });

/** Somebody wants it to stop. */
export class AskedToStop extends Error {
  override readonly name = "AskedToStop";
}

/** Lets a cancel in. @throws {AskedToStop} when it is to stop */
export async function turnOf(job: UnderWay): Promise<void> {
  await setImmediate();
  if (job.asked !== null) throw new AskedToStop();
}

/** A worker that is to yield makes the pictures first. @throws {AskedToStop} */
export function endIfCanceled(job: UnderWay): void {
  if (job.asked === "cancel") throw new AskedToStop();
}
