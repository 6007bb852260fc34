/**
 * Accepting jobs without HTTP: what a route, or a translator from another API, calls with a validated request, its owner and
 * its idempotency key.
 */
import type { FastifyBaseLogger } from "fastify";
import type { SafetyMode } from "../config/api-keys.ts";
import type { Dialect } from "../config/config.ts";
import { Refused } from "../errors.ts";
import { expectFiles } from "../jobs/kept-images.ts";
import type { BaseRecord, JobKind } from "../jobs/kind.ts";
import type { JobRecord } from "../jobs/kinds.ts";
import { newId } from "../jobs/kinds.ts";
import { removeFiles, removeOldest } from "../jobs/remove.ts";
import type { Idempotency, Submission, Terms } from "../jobs/submit.ts";
import { span } from "../observe/span.ts";
import { OutboundError } from "../outbound/errors.ts";
import type { GenerationInput } from "../schema/generation-request.ts";
import { roomOf } from "../storage/room.ts";
import { otherBody } from "./idempotency.ts";
import type { Service } from "./parts.ts";

/** How many jobs go at once where an owner's are too large. */
const MOST_AT_ONCE = 64;

/** On whose behalf a job is submitted. */
export interface Submitter {
  owner: string;
  idempotency?: Idempotency | undefined;
  /** The API that it was asked by, when that is not our own. */
  dialect?: Dialect | undefined;
  /** Where it sees the service: its webhooks name their links there. */
  seenAt: string;
  log: FastifyBaseLogger;
}

/** A request that can be carried out. */
export interface Prepared {
  request: JobRecord["request"];
  /** Stores the files that the job needs under its id; null = it needs none. `keeping`: by hash, the job that keeps this image already. */
  store: ((id: string, keeping: ReadonlyMap<string, string>) => Promise<void>) | null;
  /** Hashes of the images among these files: a later request may name them, as long as the job is kept. */
  images: readonly string[];
  /** Bytes of these files, and of others that are stored. */
  bytes: number;
  /** Of these, the archive's that a training is to learn from. */
  dataset?: number;
  /** What the log says of it. */
  about: object;
  /** Of a generation: kept with the record. */
  safety?: SafetyMode;
}

/**
 * Accepts a job, or finds the one that the idempotency key has made.
 * @param prepare makes of the input what is carried out; it runs for a new request alone
 * @throws {Refused} when it cannot be accepted; then it has had no effect
 */
export async function accept<R extends BaseRecord>(
  service: Service,
  kind: JobKind<R>,
  { owner, idempotency, dialect, seenAt, log }: Submitter,
  prepare: () => Promise<Prepared>,
): Promise<R> {
  const { config, queue, storage } = service;
  const known = idempotency && (await queue.remembered(owner, idempotency));
  if (known !== undefined) return madeBefore(known, service, kind, owner);
  const id = newId(kind);
  const { request, store, images, bytes, dataset, about, safety } = await span("validate", { id }, prepare);
  await service.room.require(JSON.stringify(request).length);
  if (store !== null) {
    await store(id, await queue.ask((redis) => expectFiles(redis, owner, id, images)));
  }
  const submission = await submitWithin(service, kind, id, request, owner, {
    idempotency,
    dialect,
    seenAt: request.webhook === null || seenAt === config.PUBLIC_URL ? undefined : seenAt,
    safety,
    mostQueued: config.MAX_QUEUE,
    mostOfOwner: config.MAX_JOBS_PER_KEY,
    mostKept: config.MAX_KEPT_PER_KEY,
    mostBytes: await service.room.ownersShare(),
    files: bytes,
    dataset,
    images,
    imagesSeconds: mostSecondsKept(config),
  });
  if (submission.outcome !== "accepted") {
    if (store !== null) await queue.ask((redis) => removeFiles(redis, storage, [{ id }]));
    return madeBefore(submission, service, kind, owner);
  }
  log.info({ [kind.name]: id, ...about }, "accepted");
  return submission.record as BaseRecord as R;
}

/** How long a job and its images can be kept at most, from its making. */
const mostSecondsKept = ({ QUEUE_TIMEOUT, RUN_TIMEOUT, RESULT_TTL, MAX_TAKEOVERS }: Service["config"]) =>
  QUEUE_TIMEOUT + (MAX_TAKEOVERS + 1) * RUN_TIMEOUT + RESULT_TTL;

/** Whether there are several owners: one alone may fill the disk up to the reserve. */
export const isShared = ({ API_KEYS }: Pick<Service["config"], "API_KEYS">) =>
  new Set(API_KEYS.map(({ name }) => name)).size > 1;

/** Submits a job; where its owner has as many as are kept, those go that were made first and have ended. */
async function submitWithin(
  { config, queue, storage }: Service,
  kind: JobKind,
  id: string,
  request: JobRecord["request"],
  owner: string,
  terms: Terms,
): Promise<Submission> {
  for (let count = 1; ; count *= 2) {
    const room = isShared(config) ? (await roomOf(config.DATA_DIR)) + (terms.files ?? 0) : undefined;
    const submission = await queue.submit(id, request, owner, { ...terms, room });
    if (submission.outcome !== "kept") return submission;
    const removed = await queue.ask((redis) =>
      removeOldest(redis, storage, kind, owner, Math.min(count, MOST_AT_ONCE)),
    );
    if (removed === 0) return submission;
  }
}

/** The job of a request that was here before. @throws {Refused} when there is none. */
async function madeBefore<R extends BaseRecord>(
  submission: Exclude<Submission, { outcome: "accepted" }>,
  { config, queue }: Service,
  kind: JobKind<R>,
  owner: string,
): Promise<R> {
  const { outcome } = submission;
  if (outcome === "conflict") throw otherBody();
  if (outcome === "full") {
    const message = `as many ${kind.name}s wait as may (MAX_QUEUE=${config.MAX_QUEUE}): try again later`;
    throw new Refused(429, "queue_full", message);
  }
  if (outcome === "busy") {
    const message = `${config.MAX_JOBS_PER_KEY} ${kind.name}s of this key are queued or running: try again later`;
    throw new Refused(429, "too_many_jobs", message);
  }
  if (outcome === "kept") {
    const message = `what this key has queued and running takes all that is kept for it: try again later`;
    throw new Refused(429, "too_many_jobs", message);
  }
  if (outcome === "taken") {
    const message = `another ${kind.name} of this name waits or runs`;
    throw new Refused(409, "name_taken", message, [{ path: "name", message }]);
  }
  const record = await queue.read(kind, submission.id, owner);
  if (record !== undefined) return record;
  throw new Refused(409, "idempotency_key_reused", "what this Idempotency-Key has made is deleted by now");
}

/** @throws {Refused} when nothing may be sent there. What its name stands for is looked at again at each attempt. */
export async function checkWebhook(webhook: GenerationInput["webhook"], { outbound }: Service): Promise<void> {
  if (webhook === null) return;
  try {
    await outbound.check(webhook.url);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    throw new Refused(422, "address_refused", error.message, [{ path: "webhook.url", message: error.message }]);
  }
}

/** @throws {Refused} 404, also when it is another owner's */
export async function findJob<R extends BaseRecord>(
  { queue }: Pick<Service, "queue">,
  kind: JobKind<R>,
  owner: string,
  id: string,
): Promise<R> {
  const record = await queue.read(kind, id, owner);
  if (record === undefined) throw unknownJob(kind, id);
  return record;
}

export function unknownJob({ name }: Pick<JobKind, "name">, id: string): Refused {
  return new Refused(404, "not_found", `there is no ${name} "${id}"`);
}
