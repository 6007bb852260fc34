/** One generation of the queue, from its claim to its outcome, as the worker's main thread sees it. */
import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Config } from "../../src/config/config.ts";
import { type Claim, keepState, keepWorked, type Outcome, reportProgress } from "../../src/jobs/attempt.ts";
import type { GenerationRecord } from "../../src/jobs/generation.ts";
import { inputBytes } from "../../src/jobs/inputs.ts";
import { span, tellSpan } from "../../src/observe/span.ts";
import type { ControlMapRecord, ImageRecord } from "../../src/schema/generation.ts";
import { GenerationRequest } from "../../src/schema/generation-request.ts";
import { imagesOf } from "../../src/schema/images.ts";
import { outputKey } from "../../src/storage/keys.ts";
import { freeBytes, RESERVE_BYTES } from "../../src/storage/room.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { failure, HandBack, TurnOver, whenRoom } from "../take-jobs.ts";
import type { Done, Ending, EngineClient, EngineTask, News } from "./engine-client.ts";
import { shownMessage } from "./shown-message.ts";
import { type GenerationTurn, watchGeneration } from "./turn.ts";

/** How long a generation that has run out of time may take to stop before the whole worker counts as stuck. */
const STUCK_MS = 60_000;

/** What a generation is carried out with. */
export interface GenerationParts {
  readonly config: Pick<Config, "RUN_TIMEOUT" | "DATA_DIR">;
  readonly redis: Redis;
  readonly storage: Storage;
  readonly engine: EngineClient;
  /** The engine thread does not answer any more. */
  readonly onStuck: () => void;
}

/** @throws {HandBack} when the worker is to stop: it is saved then */
export async function performGeneration(
  parts: GenerationParts,
  claimed: Claim<GenerationRecord>,
  log: Logger,
  signal: AbortSignal,
): Promise<Outcome> {
  const { id, metrics, safety_checker: safety } = claimed.record;
  if (claimed.attempt === 1) tellSpan("queue", { id }, metrics.queue_ms ?? 0);
  if (claimed.cancelRequested) return { status: "canceled" };
  const { data: request, error } = GenerationRequest.safeParse(claimed.record.request);
  if (error) return failure("invalid_request", error.issues.map(({ message }) => message).join("; "));
  const images = await readInputs(parts.storage, id, request);
  const giveWay = () => parts.engine.ask("yield", id);
  using turn = watchGeneration(parts.redis, claimed, parts.config.DATA_DIR, giveWay, log);
  const telling = tellOf(parts, claimed, log, turn);
  const task: EngineTask = { type: "generate", id, request, images, state: claimed.state, safety };
  const { ending, timedOut } = await runInTime(parts, task, telling.hear, claimed.workedMs);
  const outOfTime = failure("timed_out", `it was not done after ${parts.config.RUN_TIMEOUT} s`);
  if (ending === "stuck") {
    parts.onStuck();
    return outOfTime;
  }
  log.info({ steps: telling.steps, saving: telling.saving }, "steps done");
  if (ending.type === "yielded") {
    const isSaved = await telling.saved;
    if (turn.givesWay === null || !isSaved) throw new HandBack();
    await keepWorked(parts.redis, claimed, turn.workedMs);
    throw new TurnOver(turn.givesWay);
  }
  if (timedOut && ending.type === "canceled") return outOfTime;
  if (ending.type === "failed") return failure(ending.code, shownMessage(ending));
  if (ending.type === "canceled") return { status: "canceled" };
  if (ending.type !== "done") throw new Error(`a generation has ended as ${ending.type}`);
  const { storage } = parts;
  const stored = await whenRoom(parts.redis, claimed, signal, async () => ({
    images: await span("store", { id }, () => store(storage, id, ending)),
    controls: await storeMaps(storage, id, ending),
  }));
  if (stored === "canceled") return { status: "canceled" };
  return {
    status: "succeeded",
    ...stored,
    files: [...ending.images.map(({ bytes }) => bytes), ...ending.controls.map(({ png }) => png)].reduce(
      (sum, { length }) => sum + length,
      0,
    ),
    warnings: ending.warnings,
    metrics: { queue_ms: metrics.queue_ms, ...ending.metrics },
  };
}

/** The bytes of a request's images by their hashes. */
async function readInputs(
  storage: Storage,
  id: string,
  request: GenerationRequest,
): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const hash of imagesOf(GenerationRequest, request).values()) {
    files[hash] ??= await inputBytes(storage, id, hash);
  }
  return files;
}

async function store(storage: Storage, id: string, { images }: Done): Promise<ImageRecord[]> {
  const stored: ImageRecord[] = [];
  for (const { bytes, ...image } of images) {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await storage.put(outputKey(id, sha256), bytes);
    stored.push({ ...image, sha256 });
  }
  return stored;
}

async function storeMaps(storage: Storage, id: string, { controls }: Done): Promise<ControlMapRecord[]> {
  const stored: ControlMapRecord[] = [];
  for (const { png, ...map } of controls) stored.push({ ...map, ...(await storeMap(storage, id, png)) });
  return stored;
}

/** Keeps a file of a job under its content. */
export async function storeMap(storage: Storage, id: string, png: Uint8Array) {
  const sha256 = createHash("sha256").update(png).digest("hex");
  await storage.put(outputKey(id, sha256), png);
  return { content_type: "image/png" as const, sha256 };
}

/** Writes what the engine tells of a generation into its record. */
function tellOf(
  { config, redis, engine }: GenerationParts,
  claimed: Claim<GenerationRecord>,
  log: Logger,
  turn: GenerationTurn,
) {
  const telling = {
    steps: 0,
    saving: { states: 0, bytes: 0, ms: 0 },
    /** Whether the last state that was to be saved is; before there is one, nothing would be lost. */
    saved: Promise.resolve(true),
    hear(news: News): void {
      if (news.type === "progress") {
        const { step, total, preview } = news;
        telling.steps++;
        turn.hear(step);
        reportProgress(redis, claimed, { step, total, preview: preview && jpegUri(preview) }).then(
          (goOn) => goOn || engine.ask("cancel", claimed.record.id),
          (cause) => log.warn({ err: cause }, "progress"),
        );
      } else {
        const { step, bytes, ms } = news;
        telling.saving.states++;
        telling.saving.bytes = bytes.length;
        telling.saving.ms += ms;
        // Redis' file grows by it: where the disk is full a takeover goes on from an earlier step.
        const keep = async () =>
          (await freeBytes(config.DATA_DIR)) >= RESERVE_BYTES && keepState(redis, claimed, step, bytes);
        telling.saved = keep().catch((cause) => {
          log.warn({ err: cause }, "saving the state");
          return false;
        });
      }
    },
  };
  return telling;
}

/** Runs it for RUN_TIMEOUT at most, less what its earlier turns took; `stuck` is what it ends with that does not stop then. */
export async function runInTime(
  { config, engine }: Pick<GenerationParts, "config" | "engine">,
  task: EngineTask,
  hear?: (news: News) => void,
  workedMs = 0,
): Promise<{ ending: Ending | "stuck"; timedOut: boolean }> {
  const { promise: stuck, resolve: giveUp } = Promise.withResolvers<"stuck">();
  let timedOut = false;
  const leftMs = Math.max(0, config.RUN_TIMEOUT * 1000 - workedMs);
  const timers = [
    setTimeout(() => {
      timedOut = true;
      engine.ask("cancel", task.id);
    }, leftMs).unref(),
    setTimeout(() => giveUp("stuck"), leftMs + STUCK_MS).unref(),
  ];
  const ending = await Promise.race([engine.carryOut(task, hear), stuck]).finally(() => {
    for (const timer of timers) clearTimeout(timer);
  });
  return { ending, timedOut };
}

function jpegUri(bytes: Uint8Array): string {
  return `data:image/jpeg;base64,${Buffer.from(bytes).toString("base64")}`;
}
