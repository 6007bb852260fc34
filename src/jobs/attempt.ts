/**
 * What a worker does to the record of a job. Each time a worker takes a job its `attempt` goes up by one, and only the latest
 * attempt may report, save or end it: a worker that was thought dead cannot overwrite the result of the one after it.
 */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import type { ValidationPicture } from "../schema/training.ts";
import type { AnnotationRecord } from "./annotation.ts";
import type { GenerationRecord } from "./generation.ts";
import { recordKey, SCRIPT_NAMES, stateKey } from "./keys.ts";
import type { JobRecord } from "./kinds.ts";
import { parseRecord } from "./record.ts";
import type { TrainingRecord } from "./training.ts";

export interface Claim<R extends JobRecord = JobRecord> {
  record: R;
  /** 1 for the first worker that takes it, 2 after one takeover, … */
  attempt: number;
  /** How many workers died over it. */
  deaths: number;
  /** Somebody has asked to cancel it while nobody worked on it. */
  cancelRequested: boolean;
  /** For how long it has been worked on before, as far as anybody says so. */
  workedMs: number;
  /** See {@link PlaceKept}. */
  owed: number;
  /** What an attempt before this one has saved, see {@link keepState}. */
  state: Buffer | null;
}

const runClaim = script(new URL("lua/claim.lua", import.meta.url), SCRIPT_NAMES);

/** Takes a job for this worker; undefined when it has ended or is gone, and nothing is left to do. */
export async function claimJob<R extends JobRecord = GenerationRecord>(
  redis: Redis,
  id: string,
): Promise<Claim<R> | undefined> {
  const attempt = Number(await runClaim(redis, [recordKey(id)]));
  if (attempt === 0) return undefined;
  const [fields, state] = await Promise.all([redis.hgetall(recordKey(id)), redis.getBuffer(stateKey(id))]);
  const record = parseRecord(id, fields) as R | undefined;
  if (record === undefined) return undefined;
  const deaths = attempt - 1 - Number(fields.handed_back ?? 0);
  const workedMs = Number(fields.worked_ms ?? 0);
  const [cancelRequested, owed] = [fields.cancel_requested !== undefined, Number(fields.owed ?? 0)];
  return { record, attempt, deaths, cancelRequested, workedMs, owed, state };
}

const runHandBack = script(new URL("lua/hand-back.lua", import.meta.url), SCRIPT_NAMES);

/** Says that the worker stops and did not die over it. Returns the rank with which it waits for the next one. */
export async function handBack(redis: Redis, { record }: Claim): Promise<number> {
  return Number(await runHandBack(redis, [recordKey(record.id)]));
}

const runGiveWay = script(new URL("lua/give-way.lua", import.meta.url), SCRIPT_NAMES);

/** What a job that has given way and keeps its turn says of itself, as costs of its kind: see JobKind.cost. */
export interface PlaceKept {
  left: number;
  /** How much of it has to be done before it gives way again to one as urgent. */
  owed: number;
}

/** Lets others go before a job goes on: all whose turn it is, or where it keeps its turn whom the worker lets. Returns its rank. */
export async function giveWay(
  redis: Redis,
  { record, attempt }: Claim,
  kept: PlaceKept | null = null,
): Promise<number> {
  const told = kept === null ? [] : [Math.round(kept.left), Math.round(kept.owed)];
  return Number(await runGiveWay(redis, [recordKey(record.id)], attempt, ...told));
}

const runWorked = script(new URL("lua/worked.lua", import.meta.url), SCRIPT_NAMES);

/** Keeps for how long a job has been worked on. Returns how many other owners have jobs of its kind waiting. */
export async function keepWorked(redis: Redis, { record, attempt }: Claim, milliseconds: number): Promise<number> {
  return Number(await runWorked(redis, [recordKey(record.id)], attempt, Math.round(milliseconds)));
}

const runProgress = script(new URL("lua/progress.lua", import.meta.url), SCRIPT_NAMES);

/** `kept` goes into the record, `told` into an event, without which there is none, and `preview` beside it. False when the worker is to stop. */
async function report(
  redis: Redis,
  { record, attempt }: Claim,
  { step, total }: { step: number; total: number },
  kept: Record<string, string | number>,
  told: Record<string, string | number>,
  preview = "",
): Promise<boolean> {
  const [keeps, tells] = [kept, told].map((fields) => Object.entries(fields).flat()) as [string[], string[]];
  const args = [attempt, step, total, preview, keeps.length, ...keeps, ...tells];
  return (await runProgress(redis, [recordKey(record.id)], ...args)) === 1;
}

/** Tells of one evaluation, `preview` as a URI. False when the worker is to stop: it is canceled, or another's now. */
export async function reportProgress(
  redis: Redis,
  claimed: Claim,
  { step, total, preview }: { step: number; total: number; preview: string | null },
): Promise<boolean> {
  return report(redis, claimed, { step, total }, {}, { step, total }, preview ?? "");
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

const runNote = script(new URL("lua/note.lua", import.meta.url), SCRIPT_NAMES);

/** Says in a job's record why it does not get on. A training's next step takes it back, a generation's end. */
export async function warn(redis: Redis, { record, attempt }: Claim, warning: string): Promise<void> {
  await runNote(redis, [recordKey(record.id)], attempt, "warnings", JSON.stringify([warning]));
}

/** Says in a training's record how much memory it needs. */
export async function noteMemory(redis: Redis, { record, attempt }: Claim, bytes: number): Promise<void> {
  await runNote(redis, [recordKey(record.id)], attempt, "memory_bytes", JSON.stringify(bytes));
}

/** Whether somebody has asked to cancel it, or it is another worker's now. */
export async function isCancelRequested(redis: Redis, { record, attempt }: Claim): Promise<boolean> {
  const [latest, asked] = await redis.hmget(recordKey(record.id), "attempt", "cancel_requested");
  return asked != null || Number(latest) !== attempt;
}

const runKeepState = script(new URL("lua/keep-state.lua", import.meta.url), SCRIPT_NAMES);

/** Keeps what the next worker goes on from; `bytes` are the engine's affair. False when it is another worker's by now. */
export async function keepState(redis: Redis, { record, attempt }: Claim, step: number, bytes: Uint8Array) {
  const keys = [recordKey(record.id), stateKey(record.id)];
  return (await runKeepState(redis, keys, attempt, step, Buffer.from(bytes))) === 1;
}

const runFinish = script(new URL("lua/finish.lua", import.meta.url), SCRIPT_NAMES);

/** `files`: bytes of what is stored with it. */
export type Outcome =
  | (Pick<GenerationRecord, "images" | "controls" | "warnings" | "metrics"> & { status: "succeeded"; files?: number })
  | (Pick<AnnotationRecord, "images" | "pose" | "warnings" | "metrics"> & { status: "succeeded"; files?: number })
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
  const { status, files, ...rest } = { files: 0, ...outcome };
  const fields = Object.entries(rest).flatMap(([name, value]) => [name, JSON.stringify(value)]);
  return (await runFinish(redis, [recordKey(record.id)], attempt, status, files, ...fields)) as
    | Outcome["status"]
    | null;
}
