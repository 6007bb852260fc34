/**
 * What the main thread of a generation worker and its engine thread say to each other. The main thread talks to Redis and
 * storage and always answers; the engine thread (workers/generate/engine-thread.ts) holds the sessions and blocks while they run.
 */
import type { SafetyMode } from "../../src/config/api-keys.ts";
import type { Config } from "../../src/config/config.ts";
import type { NetworkChoice } from "../../src/schema/annotator-choice.ts";
import type { Catalog } from "../../src/schema/catalog.ts";
import type { Metrics } from "../../src/schema/generation.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";
import type { Precision } from "../../src/schema/speed.ts";
import type { ShownMap } from "./maps/controls.ts";
import type { MadeMap, MapTask } from "./maps/made.ts";
import type { FileSettings } from "./picture-file.ts";

/** The engine thread's workerData. */
export interface EngineSettings {
  /** Absolute. */
  modelsDir: string;
  executionProvider: Config["EXECUTION_PROVIDER"];
  precision: Precision;
  /** Where prepared networks are kept (workers/runtime/prepared.ts); absolute. */
  cacheDir: string;
  /** Bytes of weights, as float32. */
  memoryBudget?: Config["MEMORY_BUDGET"];
  /** What annotators take follows from it. */
  maxPixels: Config["MAX_PIXELS"];
  files: FileSettings;
}

export type ToEngine =
  | {
      type: "generate";
      id: string;
      request: GenerationRequest;
      /** The bytes of every control image, as uploaded, by the hash that the request names it by ("sha256:…"). */
      images: Record<string, Uint8Array>;
      /** What an earlier attempt has saved; null = from the start. */
      state: Uint8Array | null;
      /** Whether the pictures are checked, and what becomes of those that are flagged. */
      safety: SafetyMode;
    }
  | { type: "annotate"; id: string; task: MapTask<NetworkChoice>; hashes: (string | null)[] }
  /** Stop this generation before its next evaluation; answered by `canceled` (or by `done`, when it was too late). */
  | { type: "cancel"; id: string }
  /** Save it before its next evaluation and stop; answered by `yielded` (or by `done`, when it was too late). */
  | { type: "yield"; id: string }
  /** Read MODELS_DIR again. */
  | { type: "reload" }
  /** End the thread once nothing runs, preloading included. */
  | { type: "stop" };

export interface MadeImage {
  /** Encoded in the request's output_format. */
  bytes: Uint8Array;
  seed: number;
  width: number;
  height: number;
  content_type: "image/png" | "image/webp" | "image/jpeg";
  /** What the safety checker says; null = it was not asked. */
  flagged: boolean | null;
  precision: Precision;
}

export type FromEngine =
  /** When the engine has read MODELS_DIR: at the start, no job is taken before, and after each `reload`. */
  | { type: "catalog"; catalog: Catalog }
  /** For the log. */
  | { type: "warning"; message: string }
  | { type: "told"; message: string }
  /** After each evaluation of the networks; the preview is a JPEG, and there when the request asks for one. */
  | { type: "progress"; id: string; step: number; total: number; preview: Uint8Array | null }
  /** Every few steps: what another worker can go on from (workers/generate/saved-state.ts), and the ms that making it took. */
  | { type: "state"; id: string; step: number; bytes: Uint8Array; ms: number }
  | {
      type: "done";
      id: string;
      images: MadeImage[];
      /** The control images that annotators made. */
      controls: ShownMap[];
      warnings: string[];
      /** queue_ms is the main thread's to fill in. */
      metrics: Omit<Metrics, "queue_ms">;
    }
  | { type: "annotated"; id: string; made: MadeMap; load_ms: number }
  /** The request could not be carried out; `code` and `message` are what the client reads in the generation's `error`. */
  | { type: "failed"; id: string; code: string; message: string }
  | { type: "canceled"; id: string }
  | { type: "yielded"; id: string };
