import { Worker as Thread } from "node:worker_threads";
import type { PlainChoice } from "../../../src/schema/annotator-choice.ts";
import { type MadeMap, MapError, type MapTask } from "./made.ts";

export type MapAnswer =
  | { readonly type: "made"; readonly made: MadeMap }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

const FILE = new URL("./thread.ts", import.meta.url);
/** The longest that a map without a network takes of the largest picture is some seconds. */
const MOST_MS = 60_000;

/** Makes maps without networks on a thread of their own, one at a time, which is ended when it is to stop. */
export class MapThread {
  #thread: Thread | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param signal ends it at once
   * @throws {MapError} when the map cannot be made, or not in time
   */
  make(task: MapTask<PlainChoice>, signal: AbortSignal): Promise<MadeMap> {
    const made = this.#turn.then(() => this.#make(task, signal));
    this.#turn = made.catch(() => {});
    return made;
  }

  async #make(task: MapTask<PlainChoice>, signal: AbortSignal): Promise<MadeMap> {
    signal.throwIfAborted();
    this.#thread ??= new Thread(FILE);
    const thread = this.#thread;
    thread.ref();
    const { promise, resolve, reject } = Promise.withResolvers<MadeMap>();
    const abort = () => reject(signal.reason);
    const late = setTimeout(
      () => reject(new MapError("timed_out", `the map was not made within ${MOST_MS / 1000} s`)),
      MOST_MS,
    );
    const hear = (answer: MapAnswer) => {
      if (answer.type === "made") resolve(answer.made);
      else reject(answer.code === "internal" ? new Error(answer.message) : new MapError(answer.code, answer.message));
    };
    const die = () => reject(new Error("the thread of maps has ended"));
    signal.addEventListener("abort", abort);
    thread.on("message", hear).on("error", reject).on("exit", die);
    let alive = false;
    try {
      thread.postMessage(task);
      const made = await promise;
      alive = true;
      return made;
    } catch (error) {
      alive = error instanceof MapError && error.code !== "timed_out";
      throw error;
    } finally {
      clearTimeout(late);
      signal.removeEventListener("abort", abort);
      thread.off("message", hear).off("error", reject).off("exit", die);
      thread.unref();
      if (!alive) await this.#end();
    }
  }

  /** Nothing runs any more. */
  async close(): Promise<void> {
    await this.#end();
  }

  async #end(): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    await thread?.terminate();
  }
}
