/**
 * The record of a job (a generation or a training) in Redis and every change it can go through. The hash
 * `generation:<id>` or `training:<id>` is the truth; each change is one script, so that the record, the lists it stands
 * in, its events and its webhooks agree whatever dies.
 *
 * Each time a worker takes a job its `attempt` goes up by one, and only the latest attempt may report, save or end
 * it: a worker that was thought dead cannot overwrite the result of the one after it.
 */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import type { Generation, ImageRecord } from "../schema/generation.ts";
import { evaluations, type GenerationRequest } from "../schema/generation-request.ts";
import type { Training, ValidationPicture } from "../schema/training.ts";
import type { TrainingRequest } from "../schema/training-request.ts";
import { OUTBOX } from "../webhooks/outbox.ts";
import { FAIR } from "./fair.ts";
import { type Kind, kindOf } from "./kinds.ts";

/** Pub/sub channels; the messages are ids of jobs. */
export const ENDED = "job:ended";
export const EVENT = "job:event";
export const CANCEL = "job:cancel";

export const recordKey = (id: string) => `${kindOf(id)}:${id}`;
export const eventsKey = (id: string) => `events:${id}`; // stream, see src/jobs/events.ts
export const stateKey = (id: string) => `state:${id}`; // what a takeover goes on from
/** Sorted set of ids by the time (ms of Redis' clock) at which they came to the status; all that has ended is in one. */
export const statusKey = (kind: Kind, status: "queued" | "processing" | "ended") => `${kind}s:${status}`;
/** Sorted set of an owner's ids in the order of their making, in all or of one status. */
export const ownedKey = (kind: Kind, owner: string, status?: Generation["status"]) =>
  `${kind}s:of:${owner}${status === undefined ? "" : `:${status}`}`;
/** Sorted set, of both kinds: ids whose files are to be removed, and the time (ms of Redis' clock) from which on. */
export const ORPHANED = "generations:orphaned";
/** Hash: how many have ended so, for `/metrics`. */
export const outcomesKey = (kind: Kind) => `${kind}s:outcomes`;
/** Hash: by name, the training that waits or runs; from its end the ControlNet holds the name, if there is one. */
const NAMES = "trainings:names";
/** Hash: `generation`, the id of what it has made, of either kind, and `body`, the hash of the request. */
const idempotencyKey = (owner: string, key: string) => `idempotency:${owner}:${key}`;
const IDEMPOTENCY_SECONDS = 24 * 3600;

export type GenerationRecord = Omit<Generation, "images" | "metadata"> & { images: ImageRecord[] };
export type TrainingRecord = Omit<Training, "loss_csv" | "loss_png" | "validation" | "metadata"> & {
  validation: ValidationPicture[];
};
export type JobRecord = GenerationRecord | TrainingRecord;
export type RecordOf<K extends Kind> = K extends "training" ? TrainingRecord : GenerationRecord;

const ENDED_STATUSES: ReadonlySet<string> = new Set(["succeeded", "failed", "canceled"]);
export function hasEnded({ status }: { status: string }): boolean {
  return ENDED_STATUSES.has(status);
}

/**
 * Lua for the scripts below. The ids of events are their places in the one order they can come in (1 queued, 2 started,
 * 3 progress with the step behind it, 4 the end): what is told twice, by a takeover or a command sent again, is refused.
 */
const CHANGES = `
local KIND, ID = string.match(KEYS[1], '^(%a+):(.*)$')
local LISTS = KIND .. 's:'
${OUTBOX}${FAIR}
local MS = NOW[1] * 1000 + math.floor(NOW[2] / 1000)
local function tell(record, entry, event)
  redis.pcall('XADD', 'events:' .. ID, entry, 'event', event, unpack(redis.call('HGETALL', record)))
  redis.call('PUBLISH', '${EVENT}', ID)
end
local function enter(record, status)
  local owner, sequence, before, rank = unpack(redis.call('HMGET', record, 'owner', 'sequence', 'status', 'rank'))
  if before == status then return end
  if before then
    redis.call('ZREM', LISTS .. before, ID)
    redis.call('ZREM', LISTS .. 'of:' .. owner .. ':' .. before, ID)
    if before == 'queued' then leave_turn(owner, rank, status == 'processing') end
  end
  redis.call('HSET', record, 'status', status)
  redis.call('ZADD', LISTS .. 'of:' .. owner .. ':' .. status, sequence, ID)
  local list = (status == 'queued' or status == 'processing') and status or 'ended'
  redis.call('ZADD', LISTS .. list, MS, ID)
end
local function finish(record, status, at)
  enter(record, status)
  redis.call('HSET', record, 'ended_at', at)
  redis.call('DEL', 'state:' .. ID)
  local name = redis.call('HGET', record, 'name')
  if name and redis.call('HGET', '${NAMES}', name) == ID then redis.call('HDEL', '${NAMES}', name) end
  redis.call('HINCRBY', LISTS .. 'outcomes', status, 1)
  announce(record, status)
  tell(record, '4-0', status)
  redis.call('PUBLISH', '${ENDED}', ID)
end`;

/** What `Idempotency-Key` is remembered by. */
export interface Idempotency {
  key: string;
  /** Hash of the body that it came with. */
  body: string;
}

const runSubmit = script(`${CHANGES}
local record, idempotency = unpack(KEYS)
local key, body, most, most_of_owner, owner, priority, name = unpack(ARGV)
if key ~= '' then
  local known, sent = unpack(redis.call('HMGET', idempotency, 'generation', 'body'))
  if known then return sent == body and known or 'conflict' end
end
if most ~= '' and redis.call('ZCARD', LISTS .. 'queued') >= tonumber(most) then return 'full' end
if most_of_owner ~= '' then
  local own = LISTS .. 'of:' .. owner .. ':'
  local jobs = redis.call('ZCARD', own .. 'queued') + redis.call('ZCARD', own .. 'processing')
  if jobs >= tonumber(most_of_owner) then return 'busy' end
end
if name ~= '' then
  local other = redis.call('HGET', '${NAMES}', name)
  local status = other and redis.call('HGET', KIND .. ':' .. other, 'status')
  if status == 'queued' or status == 'processing' then return 'taken' end
  redis.call('HSET', '${NAMES}', name, ID)
  redis.call('HSET', record, 'name', name)
end
local sequence = redis.call('INCR', LISTS .. 'sequence')
redis.call('HSET', record, 'owner', owner, 'sequence', sequence, unpack(ARGV, 8))
local rank = give_turn(owner, priority)
redis.call('HSET', record, 'rank', rank)
redis.call('ZADD', LISTS .. 'of:' .. owner, sequence, ID)
enter(record, 'queued')
redis.call('ZREM', '${ORPHANED}', ID)
if key ~= '' then
  redis.call('HSET', idempotency, 'generation', ID, 'body', body)
  redis.call('EXPIRE', idempotency, ${IDEMPOTENCY_SECONDS})
end
tell(record, '1-0', 'queued')
return rank`);

export type Submission =
  /** `rank`: see src/jobs/fair.ts. */
  | { outcome: "accepted"; rank: number; record: JobRecord }
  /** The same request has been here with the same key: it made this job. */
  | { outcome: "known"; id: string }
  /** The key has been here with another body. */
  | { outcome: "conflict" }
  /** There are `mostQueued` that wait. */
  | { outcome: "full" }
  /** There are `mostOfOwner` of this owner that wait or run. */
  | { outcome: "busy" }
  /** Another training of this name waits or runs. */
  | { outcome: "taken" };

export interface Terms {
  idempotency?: Idempotency | undefined;
  mostQueued?: number;
  mostOfOwner?: number | undefined;
}

/** Writes the record of a new job: from then on it is accepted. */
export async function submit(
  redis: Redis,
  id: string,
  request: GenerationRequest | TrainingRequest,
  owner: string,
  { mostQueued, mostOfOwner, idempotency }: Terms,
): Promise<Submission> {
  const { webhook } = request;
  const { total, priority, name } =
    "max_train_steps" in request
      ? { total: request.max_train_steps, priority: 0, name: request.name }
      : { total: evaluations(request), priority: request.priority, name: "" };
  const fields = {
    ...(webhook && { webhook_url: webhook.url, webhook_events: webhook.events.join() }),
    request: JSON.stringify(request),
    step: "0",
    total: String(total),
    created_at: new Date().toISOString(),
  };
  const { key = "", body = "" } = idempotency ?? {};
  const keys = [recordKey(id), idempotencyKey(owner, key)];
  const terms = [key, body, mostQueued ?? "", mostOfOwner ?? "", owner, priority, name];
  const answer = await runSubmit(redis, keys, ...terms, ...Object.entries(fields).flat());
  if (typeof answer === "number") {
    return { outcome: "accepted", rank: answer, record: parseRecord(id, { ...fields, status: "queued" })! };
  }
  if (answer === "conflict" || answer === "full" || answer === "busy" || answer === "taken") return { outcome: answer };
  return { outcome: "known", id: String(answer) };
}

/** The job that a key has made already, with this body or ("conflict") another; undefined when it has made none. */
export async function remembered(
  redis: Redis,
  owner: string,
  { key, body }: Idempotency,
): Promise<Extract<Submission, { outcome: "known" | "conflict" }> | undefined> {
  const [id, sent] = await redis.hmget(idempotencyKey(owner, key), "generation", "body");
  if (!id) return undefined;
  return sent === body ? { outcome: "known", id } : { outcome: "conflict" };
}

export interface Claim<R extends JobRecord = JobRecord> {
  record: R;
  /** 1 for the first worker that takes it, 2 after one takeover, … */
  attempt: number;
  /** How many workers died over it. */
  deaths: number;
  /** Somebody has asked to cancel it while nobody worked on it. */
  cancelRequested: boolean;
  /** What an attempt before this one has saved, see {@link saveState}. */
  state: Buffer | null;
}

const runClaim = script(`${CHANGES}
local record = KEYS[1]
local status, saved = unpack(redis.call('HMGET', record, 'status', 'saved_step'))
if status ~= 'queued' and status ~= 'processing' then return 0 end
enter(record, 'processing')
redis.call('HSET', record, 'step', saved or 0)
local attempt = redis.call('HINCRBY', record, 'attempt', 1)
if redis.call('HSETNX', record, 'started_at', ARGV[1]) == 1 then
  announce(record, 'started')
  tell(record, '2-0', 'started')
end
return attempt`);

/** Takes a job for this worker; undefined when it has ended or is gone, and nothing is left to do. */
export async function claim<R extends JobRecord = GenerationRecord>(
  redis: Redis,
  id: string,
): Promise<Claim<R> | undefined> {
  const attempt = Number(await runClaim(redis, [recordKey(id)], new Date().toISOString()));
  if (attempt === 0) return undefined;
  const [fields, state] = await Promise.all([redis.hgetall(recordKey(id)), redis.getBuffer(stateKey(id))]);
  const record = parseRecord(id, fields) as R | undefined;
  if (record === undefined) return undefined;
  const deaths = attempt - 1 - Number(fields.handed_back ?? 0);
  return { record, attempt, deaths, cancelRequested: fields.cancel_requested !== undefined, state };
}

/** Says that the worker stops and did not die over it. */
export async function countHandBack(redis: Redis, { record }: Claim): Promise<void> {
  await redis.hincrby(recordKey(record.id), "handed_back", 1);
}

const runProgress = script(`${CHANGES}
local record = KEYS[1]
local attempt, step, total, kept = unpack(ARGV)
local latest, status, cancel = unpack(redis.call('HMGET', record, 'attempt', 'status', 'cancel_requested'))
if latest ~= attempt or status ~= 'processing' then return 0 end
redis.call('HSET', record, 'step', step, 'total', total, unpack(ARGV, 5, 4 + kept))
local told = {unpack(ARGV, 5 + kept)}
if #told > 0 then
  redis.pcall('XADD', 'events:' .. ID, '3-' .. step, 'event', 'progress', unpack(told))
  redis.call('PUBLISH', '${EVENT}', ID)
end
return cancel and 0 or 1`);

/** `kept` goes into the record, `told` into an event; without `told` there is none. False when the worker is to stop. */
async function report(
  redis: Redis,
  { record, attempt }: Claim,
  { step, total }: { step: number; total: number },
  kept: Record<string, string | number>,
  told: Record<string, string | number>,
): Promise<boolean> {
  const [keeps, tells] = [kept, told].map((fields) => Object.entries(fields).flat()) as [string[], string[]];
  const args = [attempt, step, total, keeps.length, ...keeps, ...tells];
  return (await runProgress(redis, [recordKey(record.id)], ...args)) === 1;
}

/** Tells of one evaluation, `preview` as a URI. False when the worker is to stop: it is canceled, or another's now. */
export async function reportProgress(
  redis: Redis,
  claimed: Claim,
  { step, total, preview }: { step: number; total: number; preview: string | null },
): Promise<boolean> {
  return report(redis, claimed, { step, total }, {}, { step, total, ...(preview !== null && { preview }) });
}

/** A training's step has been done. */
export interface StepReport {
  step: number;
  total: number;
  loss: number;
  learning_rate: number;
  /** Made at this step, when it was saved; null = it was not. */
  validation: ValidationPicture[] | null;
}

/** Events of a training's progress: at most so many, evenly over its steps, beside those of the steps that are saved. */
const MOST_EVENTS = 10_000;

/** Tells of one step of a training. False when the worker is to stop: it is canceled, or another's now. */
export async function reportStep(redis: Redis, claimed: Claim, { validation, ...rest }: StepReport): Promise<boolean> {
  const { step, total, loss } = rest;
  const saved = validation !== null && {
    // Whatever workers have died over it, it has got on since.
    handed_back: claimed.attempt - 1,
    saved_step: step,
    ...(validation.length > 0 && { validation: JSON.stringify(validation) }),
  };
  const telling = validation !== null || step === total || step % Math.ceil(total / MOST_EVENTS) === 0;
  const told = { ...rest, validation: JSON.stringify(validation ?? []) };
  return report(redis, claimed, { step, total }, { loss, warnings: "[]", ...saved }, telling ? told : {});
}

const runWarn = script(`
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'status') ~= 'processing' then
  return 0
end
return redis.call('HSET', KEYS[1], 'warnings', ARGV[2])`);

/** Says in a training's record why it does not get on; its next step takes it back. */
export async function warn(redis: Redis, { record, attempt }: Claim, warning: string): Promise<void> {
  await runWarn(redis, [recordKey(record.id)], attempt, JSON.stringify([warning]));
}

const runSave = script(`
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'status') ~= 'processing' then
  return 0
end
redis.call('HSET', KEYS[1], 'saved_step', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3])
return 1`);

/** Keeps what the next worker goes on from, should this one die; `bytes` are the engine's affair. */
export async function saveState(redis: Redis, { record, attempt }: Claim, step: number, bytes: Uint8Array) {
  await runSave(redis, [recordKey(record.id), stateKey(record.id)], attempt, step, Buffer.from(bytes));
}

const runFinish = script(`${CHANGES}
local record = KEYS[1]
local latest, status, cancel = unpack(redis.call('HMGET', record, 'attempt', 'status', 'cancel_requested'))
if status ~= 'processing' or latest ~= ARGV[1] then return false end
if cancel then
  finish(record, 'canceled', ARGV[3])
  return 'canceled'
end
if #ARGV > 3 then redis.call('HSET', record, unpack(ARGV, 4)) end
finish(record, ARGV[2], ARGV[3])
return ARGV[2]`);

export type Outcome =
  | (Pick<GenerationRecord, "images" | "warnings" | "metrics"> & { status: "succeeded" })
  | (Pick<TrainingRecord, "controlnet"> & { status: "succeeded" })
  | { status: "failed"; error: NonNullable<JobRecord["error"]> }
  | { status: "canceled" };

/**
 * Ends a job, and says how; null when another attempt has taken it over, whose outcome counts instead. Once somebody was
 * told that it will be canceled, it ends so, also when the worker was done before it heard of it.
 */
export async function finish(
  redis: Redis,
  { record, attempt }: Claim,
  outcome: Outcome,
): Promise<Outcome["status"] | null> {
  const { status, ...rest } = outcome;
  const fields = Object.entries(rest).flatMap(([name, value]) => [name, JSON.stringify(value)]);
  const at = new Date().toISOString();
  return (await runFinish(redis, [recordKey(record.id)], attempt, status, at, ...fields)) as Outcome["status"] | null;
}

const runRequestCancel = script(`${CHANGES}
local record = KEYS[1]
local status = redis.call('HGET', record, 'status')
if status == 'queued' then
  finish(record, 'canceled', ARGV[1])
  return 'canceled'
elseif status == 'processing' then
  redis.call('HSET', record, 'cancel_requested', ARGV[1])
  redis.call('PUBLISH', '${CANCEL}', ID)
  return 'processing'
end
return 'ended'`);

/** Cancels a job that waits; asks the worker of one that runs to stop. "ended": it is too late. */
export async function requestCancel(redis: Redis, id: string): Promise<"canceled" | "processing" | "ended"> {
  return (await runRequestCancel(redis, [recordKey(id)], new Date().toISOString())) as
    | "canceled"
    | "processing"
    | "ended";
}

const runGiveUp = script(`${CHANGES}
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then return 0 end
redis.call('HSET', KEYS[1], 'error', ARGV[2])
finish(KEYS[1], 'failed', ARGV[1])
return 1`);

/** Fails a generation that no worker has taken; false when one has, meanwhile. */
export async function giveUpWaiting(redis: Redis, id: string, error: NonNullable<JobRecord["error"]>) {
  return (await runGiveUp(redis, [recordKey(id)], new Date().toISOString(), JSON.stringify(error))) === 1;
}

/** The record from the fields of its hash; undefined when they are none. */
export function parseRecord(id: string, fields: Record<string, string>): JobRecord | undefined {
  const { status, request, created_at } = fields;
  if (status === undefined || request === undefined || created_at === undefined) return undefined;
  const json = <T>(name: string, absent: T): T => (fields[name] === undefined ? absent : JSON.parse(fields[name]));
  const started_at = fields.started_at ?? null;
  const ofEveryKind = {
    id,
    status: status as JobRecord["status"],
    progress: { step: Number(fields.step), total: Number(fields.total) },
    request: JSON.parse(request),
    warnings: json("warnings", []),
    error: json("error", null),
    created_at,
    started_at,
    ended_at: fields.ended_at ?? null,
  };
  if (kindOf(id) === "training") {
    return {
      ...ofEveryKind,
      object: "training",
      loss: json("loss", null),
      validation: json("validation", []),
      controlnet: json("controlnet", null),
    };
  }
  return {
    ...ofEveryKind,
    object: "generation",
    images: json("images", []),
    metrics: json("metrics", {
      queue_ms: started_at === null ? null : Math.max(0, Date.parse(started_at) - Date.parse(created_at)),
      load_ms: null,
      encode_ms: null,
      denoise_ms: null,
      decode_ms: null,
      steps_per_second: null,
    }),
  };
}
