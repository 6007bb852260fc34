import { Worker as Thread } from "node:worker_threads";
import type { Logger } from "pino";
import type { Catalog } from "../../src/schema/catalog.ts";
import type { EngineSettings, FromEngine, ToEngine } from "./messages.ts";

/** What a generation has come to on the engine thread. */
export type Ending = Extract<FromEngine, { type: "done" | "annotated" | "failed" | "canceled" | "yielded" }>;
export type Done = Extract<Ending, { type: "done" }>;
/** What the engine tells of a generation under way. */
export type News = Extract<FromEngine, { type: "progress" | "state" }>;
export type EngineTask = Extract<ToEngine, { type: "generate" | "annotate" }>;

/** How long the thread may take to end by itself: the longest load of one network, on a slow disk. */
const STOP_MS = 30_000;

interface Running {
  ended: Promise<Ending>;
  end: (ending: Ending) => void;
  hear: (news: News) => void;
}

/** The engine thread, seen from the main thread. */
export class EngineClient {
  readonly #thread: Thread;
  readonly #running = new Map<string, Running>();
  readonly #exited: Promise<void>;

  /**
   * `onCatalog` is called whenever the engine has read MODELS_DIR, the first time before it takes anything; `onDeath` once
   * when the thread ends, however it does.
   */
  constructor(
    file: URL,
    options: EngineSettings,
    log: Logger,
    onCatalog: (catalog: Catalog) => void,
    onDeath: (error: Error) => void,
  ) {
    this.#thread = new Thread(file, { workerData: options });
    let death = new Error("the engine thread has ended");
    this.#thread.on("error", (error) => (death = error instanceof Error ? error : new Error(String(error))));
    this.#exited = new Promise((exited) => {
      this.#thread.on("exit", () => {
        exited();
        onDeath(death);
      });
    });
    this.#thread.on("message", (message: FromEngine) => {
      if (message.type === "catalog") return onCatalog(message.catalog);
      if (message.type === "warning") return log.warn(message.message);
      if (message.type === "told") return log.info(message.message);
      const running = this.#running.get(message.id);
      if (message.type === "progress" || message.type === "state") return running?.hear(message);
      running?.end(message);
    });
  }

  carryOut(task: EngineTask, hear: (news: News) => void = () => {}): Promise<Ending> {
    const { promise: ended, resolve: end } = Promise.withResolvers<Ending>();
    this.#running.set(task.id, { ended, end, hear });
    this.#thread.postMessage(task);
    return ended.finally(() => this.#running.delete(task.id));
  }

  /** Asks a generation to stop before its next step; nothing happens when it does not run here. */
  ask(type: "cancel" | "yield", id: string): void {
    if (this.#running.has(id)) this.#thread.postMessage({ type, id } satisfies ToEngine);
  }

  /** Asks for MODELS_DIR to be read again. */
  reload(): void {
    this.#thread.postMessage({ type: "reload" } satisfies ToEngine);
  }

  /** Asks what runs to be saved and to stop; resolves when it has. */
  async yieldAll(): Promise<void> {
    for (const id of this.#running.keys()) this.ask("yield", id);
    await this.#idle();
  }

  /**
   * Cancels what runs and lets the thread end by itself: one that is ended from outside while a session runs or is made, or an
   * image is encoded, aborts the process.
   */
  async stop(): Promise<void> {
    for (const id of this.#running.keys()) this.ask("cancel", id);
    await this.#idle();
    this.#thread.postMessage({ type: "stop" } satisfies ToEngine);
    const patience = setTimeout(() => this.#thread.terminate(), STOP_MS);
    await this.#exited;
    clearTimeout(patience);
  }

  async #idle(): Promise<void> {
    await Promise.race([Promise.all([...this.#running.values()].map(({ ended }) => ended)), this.#exited]);
  }
}
