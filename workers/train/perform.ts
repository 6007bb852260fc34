/** One training of the queue, from its claim to its outcome, as the trainer's main thread sees it. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { type Config, DEMO_MODELS_DIR } from "../../src/config/config.ts";
import { type Claim, type Outcome, warn } from "../../src/jobs/attempt.ts";
import { MODELS_CHANNEL, untilOffered } from "../../src/jobs/fleet.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { TrainingRequest } from "../../src/schema/training-request.ts";
import { failure, HandBack } from "../take-jobs.ts";
import { layOut } from "./lay-out.ts";
import { Place, PublishError } from "./publish.ts";
import type { Running } from "./running.ts";
import { compute, type Telling } from "./thread-client.ts";

/** How long a training whose disk is full waits before it tries again. */
const DISK_FULL_MS = 10_000;
/** How long a training that has ended waits for the generation workers to have its ControlNet. */
const OFFERED_MS = 30_000;

/** What a training is carried out with. */
export interface TrainingParts extends Telling {
  readonly config: Config;
}

/** There was no room on the disk: there may be later. */
class DiskFull extends Error {
  override readonly name = "DiskFull";
}

const isDiskFull = (error: unknown) => error instanceof DiskFull || (error as NodeJS.ErrnoException).code === "ENOSPC";

/** The folder of a training on the trainer's disk, for as long as it is not done. */
export const trainingFolder = ({ DATA_DIR }: Pick<Config, "DATA_DIR">, id: string) => join(DATA_DIR, "trainings", id);

/** The request of a training, or why it cannot be carried out. */
export function readRequest(record: TrainingRecord): TrainingRequest | Outcome {
  const { data: request, error } = TrainingRequest.safeParse(record.request);
  return request ?? failure("invalid_request", error!.issues.map(({ message }) => message).join("; "));
}

/** Carries a training out; waits where its disk is full. @throws {HandBack} when the trainer is to stop: it is saved then */
export async function performTraining(
  parts: TrainingParts,
  claimed: Claim<TrainingRecord>,
  request: TrainingRequest,
  job: Running,
  log: Logger,
): Promise<Outcome> {
  const { config, redis } = parts;
  if (config.MODELS_DIR === DEMO_MODELS_DIR) {
    return failure("models_not_writable", "MODELS_DIR is not set: there is no place for what is trained");
  }
  const place = new Place(config.MODELS_DIR, request.name, claimed.record.id);
  await place.sweep();
  for (;;) {
    try {
      const ended = (await place.isDone()) ? null : await trainOnce(parts, place, claimed, request, job, log);
      if (ended !== null) return ended;
      await redis.publish(MODELS_CHANNEL, request.name);
      await untilOffered(redis, request.name, OFFERED_MS);
      return { status: "succeeded", controlnet: request.name };
    } catch (error) {
      if (error instanceof PublishError) return failure(error.code, error.message);
      if (!isDiskFull(error)) throw error;
      log.warn("the disk is full");
      const warning = "the trainer's disk is full: the training waits, and goes on when there is room";
      // Redis may have no room either: the training waits all the same.
      await warn(redis, claimed, warning).catch((cause) => log.warn({ err: cause }, "the warning is not told"));
      await Promise.race([job.stopped, sleep(DISK_FULL_MS, undefined, { ref: false })]);
      if (job.asked === "cancel") return { status: "canceled" };
      if (job.asked === "yield") throw new HandBack();
    }
  }
}

/** Trains, and brings what is trained to its place. Returns what has ended it otherwise; null = it is there. */
async function trainOnce(
  parts: TrainingParts,
  place: Place,
  claimed: Claim<TrainingRecord>,
  request: TrainingRequest,
  job: Running,
  log: Logger,
): Promise<Outcome | null> {
  const { id, request: about } = claimed.record;
  await place.check();
  const task = await layOut(parts, trainingFolder(parts.config, id), claimed, request, job);
  if ("status" in task) return task;
  const ending = await compute(parts, task, claimed, job, log);
  if (ending.type === "failed") return failure(ending.code, ending.message);
  if (job.asked === "cancel") return { status: "canceled" };
  if (ending.type === "stopped") throw new HandBack();
  if (ending.type === "disk_full") throw new DiskFull();
  await place.bring(task.folders.output, { request: about });
  return null;
}
