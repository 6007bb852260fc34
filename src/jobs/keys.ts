/** The names of a job's keys in Redis, each spelled once: the scripts in lua/ read them as locals. */
import { DELIVERY_NAMES } from "../webhooks/keys.ts";
import { kindOf } from "./kinds.ts";

const IDEMPOTENCY_SECONDS = 24 * 3600;
/** Of an owner; more are not told apart from new ones. 10 MB of Redis' memory. */
const MOST_IDEMPOTENCY_KEYS = 20_000;

/** What the scripts in lua/ are given. */
export const SCRIPT_NAMES = {
  ...DELIVERY_NAMES,
  EVENTS: "events:",
  STATE: "state:",
  /** Before an id, a hash: the previews of a job that runs, by step. */
  PREVIEWS: "previews:",
  /** Hash, of all kinds: `of:` and an owner, the bytes of the files of the owner's jobs; `all` = of all together. */
  FILES: "jobs:files",
  /** Sorted set, of all kinds: ids whose files are to be removed, and the time (ms of Redis' clock) from which on. */
  ORPHANED: "generations:orphaned",
  /** Pub/sub channels; the messages are ids of jobs. */
  ENDED_CHANNEL: "job:ended",
  EVENT_CHANNEL: "job:event",
  CANCEL_CHANNEL: "job:cancel",
  /** Before an id: there while a worker gives way to that job. */
  GIVING: "giving-way:",
  /** More than any cost: where jobs are in order of priority and then of cost, a priority counts so much. */
  COST_END: 1e12,
  IDEMPOTENCY_SECONDS,
  /** Before an owner, a sorted set: the keys of Redis that remember the owner's Idempotency-Keys, by time. */
  IDEMPOTENCY_OF: "idempotency-keys:",
  MOST_IDEMPOTENCY_KEYS,
} as const;
export const { ORPHANED, ENDED_CHANNEL, EVENT_CHANNEL, CANCEL_CHANNEL } = SCRIPT_NAMES;

/** Hash: the job's record. */
export const recordKey = (id: string) => `${kindOf(id).name}:${id}`;
/** Stream, see events.ts. */
export const eventsKey = (id: string) => `${SCRIPT_NAMES.EVENTS}${id}`;
/** What a takeover goes on from. */
export const stateKey = (id: string) => `${SCRIPT_NAMES.STATE}${id}`;
export const previewsKey = (id: string) => `${SCRIPT_NAMES.PREVIEWS}${id}`;

/** Set of the hashes of the images that a job was given; there for as long as they are. */
export const inputsKey = (id: string) => `inputs:${id}`;

/** Set of the ids of an owner's jobs that keep an image. */
export const imageKey = (owner: string, hash: string) => `images:${owner}:${hash}`;

/** Of a kind of job. */
interface Named {
  readonly name: string;
}
/** Sorted set of ids by the time (ms of Redis' clock) at which they came to the status; all that has ended is in one. */
export const statusKey = ({ name }: Named, status: "queued" | "processing" | "ended") => `${name}s:${status}`;
/** Sorted set of an owner's ids in the order of their making, in all or of one status. */
export const ownedKey = ({ name }: Named, owner: string, status?: string) =>
  `${name}s:of:${owner}${status === undefined ? "" : `:${status}`}`;
/** Hash: how many have ended so, for `/metrics`. */
export const outcomesKey = ({ name }: Named) => `${name}s:outcomes`;
/** Hash: `generation`, the id of what it has made, of any kind, and `body`, the hash of the request. */
export const idempotencyKey = (owner: string, key: string) => `idempotency:${owner}:${key}`;
