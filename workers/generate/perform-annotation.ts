/** One annotation of the queue, from its claim to its outcome, as the worker's main thread sees it. */
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Config } from "../../src/config/config.ts";
import { encodeImage } from "../../src/image/encode.ts";
import type { AnnotationRecord } from "../../src/jobs/annotation.ts";
import { type Claim, type Outcome, reportProgress } from "../../src/jobs/attempt.ts";
import { inputBytes } from "../../src/jobs/inputs.ts";
import { span } from "../../src/observe/span.ts";
import type { MapRecord } from "../../src/schema/annotation.ts";
import { AnnotationRequest } from "../../src/schema/annotation-request.ts";
import { isNetworkChoice, type PlainChoice } from "../../src/schema/annotator-choice.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { failure, HandBack, whenRoom } from "../take-jobs.ts";
import type { EngineClient } from "./engine-client.ts";
import { type MadeMap, MapError, type MapTask } from "./maps/made.ts";
import type { MapThread } from "./maps/thread-client.ts";
import { runInTime, storeMap } from "./perform.ts";
import { shownMessage } from "./shown-message.ts";

/** What an annotation is carried out with. */
export interface AnnotationParts {
  readonly config: Pick<Config, "DATA_DIR" | "RUN_TIMEOUT" | "MAX_PIXELS">;
  readonly redis: Redis;
  readonly storage: Storage;
  readonly engine: EngineClient;
  readonly thread: MapThread;
  /** The engine thread does not answer any more. */
  readonly onStuck: () => void;
}

/** A map and how long its networks took to load, or what has become of it instead. */
type Ended = { readonly made: MadeMap; readonly load_ms: number } | Outcome;

/** @param signal aborts when it is canceled, or the worker stops */
export async function performAnnotation(
  parts: AnnotationParts,
  claimed: Claim<AnnotationRecord>,
  signal: AbortSignal,
  log: Logger,
): Promise<Outcome> {
  const { id, metrics } = claimed.record;
  if (claimed.cancelRequested) return { status: "canceled" };
  const { data: request, error } = AnnotationRequest.safeParse(claimed.record.request);
  if (error) return failure("invalid_request", error.issues.map(({ message }) => message).join("; "));
  const begun = performance.now();
  const ended = await make(parts, id, request, signal);
  if (!("made" in ended)) return ended;
  const { map, pose, warnings } = ended.made;
  let files = 0;
  const store = async (): Promise<MapRecord> => {
    const png = await encodeImage(map, "png");
    files = png.length;
    return { width: map.width, height: map.height, ...(await storeMap(parts.storage, id, png)) };
  };
  const image = await whenRoom(parts.redis, claimed, signal, () => span("store", { id }, store));
  if (image === "canceled") return { status: "canceled" };
  const annotate_ms = performance.now() - begun - ended.load_ms;
  await reportProgress(parts.redis, claimed, { step: 1, total: 1, preview: null }).catch((cause) =>
    log.warn({ err: cause }, "progress"),
  );
  return {
    status: "succeeded",
    images: [image],
    files,
    pose,
    warnings: [...warnings],
    metrics: { queue_ms: metrics.queue_ms, load_ms: ended.load_ms, annotate_ms },
  };
}

async function make(
  parts: AnnotationParts,
  id: string,
  { annotator, image, mask_image, pose }: AnnotationRequest,
  signal: AbortSignal,
): Promise<Ended> {
  const hashes = [image, mask_image];
  const [picture, mask] = await Promise.all(
    hashes.map((hash) => (hash === null ? null : inputBytes(parts.storage, id, hash))),
  );
  const task: MapTask = { choice: annotator, picture: picture!, mask: mask!, pose, maxPixels: parts.config.MAX_PIXELS };
  if (isNetworkChoice(annotator)) return byNetwork(parts, id, { ...task, choice: annotator }, hashes);
  try {
    return { made: await parts.thread.make({ ...task, choice: annotator as PlainChoice }, signal), load_ms: 0 };
  } catch (error) {
    if (signal.aborted) return { status: "canceled" };
    if (error instanceof MapError) return failure(error.code, error.message);
    throw error;
  }
}

/** On the engine thread, within RUN_TIMEOUT. @throws {HandBack} when the worker is to stop */
async function byNetwork(
  parts: AnnotationParts,
  id: string,
  task: Extract<Parameters<EngineClient["carryOut"]>[0], { type: "annotate" }>["task"],
  hashes: (string | null)[],
): Promise<Ended> {
  const { ending, timedOut } = await runInTime(parts, { type: "annotate", id, task, hashes });
  const outOfTime = failure("timed_out", `it was not done after ${parts.config.RUN_TIMEOUT} s`);
  if (ending === "stuck") {
    parts.onStuck();
    return outOfTime;
  }
  if (ending.type === "annotated") return ending;
  if (ending.type === "failed") return failure(ending.code, shownMessage(ending));
  if (ending.type === "yielded") throw new HandBack();
  return timedOut ? outOfTime : { status: "canceled" };
}
