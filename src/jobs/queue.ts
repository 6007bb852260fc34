/**
 * How jobs travel through Redis. A job's record (record.ts) is the truth. The BullMQ job of the same id carries nothing but
 * the id and only brings the record to a worker; one that gets lost is made again by the sweep.
 */
import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { OWNER_WITHOUT_KEYS } from "../config/api-keys.ts";
import { connectImpatiently, withinDeadline } from "../redis/connection.ts";
import { Listener, type Listening } from "../redis/listen.ts";
import { script } from "../redis/script.ts";
import { ENDED_CHANNEL, EVENT_CHANNEL, recordKey } from "./keys.ts";
import type { BaseRecord, JobKind } from "./kind.ts";
import { ALL_KINDS, type JobRecord, kindOf } from "./kinds.ts";
import { ownerOfRecord } from "./list.ts";
import { hasEnded, parseRecord } from "./record.ts";
import { requestCancel } from "./stop.ts";
import { type Idempotency, remembered, type Submission, submit, type Terms } from "./submit.ts";

/** The name of a kind's queue in BullMQ. */
export const queueName = ({ name }: Pick<JobKind, "name">) => `${name}s`;

/**
 * A dead worker's lock runs out after 4 s; a check every 2 s then finds its job at the second look: 8 s at most, where
 * 10 s are promised. BullMQ's own bound on takeovers is out of the way: the record's `attempt` counts them.
 */
export const WORKER_OPTIONS = {
  concurrency: 1,
  lockDuration: 4000,
  stalledInterval: 2000,
  maxStalledCount: 1_000_000,
} as const;

/** How long whoever waits for a message goes without looking, should one be lost with a connection. */
const LOOK_AGAIN_MS = 5000;
/** And when Redis has not answered. */
const REDIS_AWAY_MS = 500;

const runMissing = script(new URL("lua/missing.lua", import.meta.url));

/** The gateway's end: submits jobs, reads them, waits for them. Every method throws NotReady when Redis is away, or cannot now. */
export class JobQueue {
  readonly #redis: Redis;
  readonly #listener: Listener;
  /** By the name of the kind. */
  readonly #queues = new Map<string, Queue>();
  /** Jobs of accepted records that are on their way to Redis. */
  readonly #adding = new Set<Promise<void>>();

  /** `onError` hears of connection errors, which are no caller's to handle. */
  constructor(url: string, onError: (error: Error) => void) {
    this.#redis = connectImpatiently(url);
    this.#redis.on("error", onError);
    this.#listener = new Listener(url, [ENDED_CHANNEL, EVENT_CHANNEL], onError);
    for (const kind of ALL_KINDS) this.#openQueue(kind);
  }

  /**
   * Writes the record, which accepts it; the images must be stored already. Then the job is sent, on the same connection, so
   * that whatever asks later finds it; nobody waits for it to be on disk, for should it get lost, the sweep makes it.
   */
  async submit(
    id: string,
    request: JobRecord["request"],
    owner = OWNER_WITHOUT_KEYS,
    terms: Terms = {},
  ): Promise<Submission> {
    const submission = await this.ask((redis) => submit(redis, id, request, owner, terms));
    if (submission.outcome === "accepted") {
      const adding = this.#add(id, submission.rank).catch(() => {});
      this.#adding.add(adding);
      adding.finally(() => this.#adding.delete(adding));
    }
    return submission;
  }

  /** The job that brings a record to a worker; nothing happens when there is one. */
  async enqueue(id: string): Promise<void> {
    await this.#add(id, Number(await this.ask((redis) => redis.hget(recordKey(id), "rank"))));
  }

  async #add(id: string, priority: number): Promise<void> {
    const options = { jobId: id, priority, removeOnComplete: true, removeOnFail: true, attempts: 3, backoff: 1000 };
    await this.#within(() => this.#queueOf(id).add(kindOf(id).name, {}, options));
  }

  /** Those of the ids that have no job. */
  async withoutJob(ids: readonly string[]): Promise<string[]> {
    const missing = await this.ask((redis) => {
      const keys = ids.map((id) => this.#queueOf(id).toKey(id));
      return runMissing(redis, keys) as Promise<number[]>;
    });
    return missing.map((place) => ids[place - 1]!);
  }

  /** See {@link requestCancel}. */
  async cancel(id: string): ReturnType<typeof requestCancel> {
    const outcome = await this.ask((redis) => requestCancel(redis, id));
    if (outcome === "canceled") await this.#within(() => this.#queueOf(id).remove(id)).catch(() => {}); // else a worker finds it ended
    return outcome;
  }

  /** See {@link remembered}. */
  remembered(owner: string, idempotency: Idempotency): ReturnType<typeof remembered> {
    return this.ask((redis) => remembered(redis, owner, idempotency));
  }

  /** undefined when there is none of that kind, or it is another owner's. */
  async read<R extends BaseRecord>(kind: JobKind<R>, id: string, owner: string): Promise<R | undefined> {
    if (kindOf(id).name !== kind.name) return undefined;
    const fields = await this.ask((redis) => redis.hgetall(recordKey(id)));
    return fields.owner === owner ? (parseRecord(id, fields) as R | undefined) : undefined;
  }

  /** Whether the owner has such a job. */
  async has({ name }: Pick<JobKind, "name">, id: string, owner: string): Promise<boolean> {
    return kindOf(id).name === name && (await this.ask((redis) => ownerOfRecord(redis, id))) === owner;
  }

  /** The job when it has ended, or as it stands when `signal` aborts. Redis may go and come back meanwhile. */
  async readWhenEnded<R extends BaseRecord>(
    kind: JobKind<R>,
    known: R,
    owner: string,
    signal: AbortSignal,
  ): Promise<R> {
    for (;;) {
      using listening = this.#listener.listen(ENDED_CHANNEL, known.id); // before the look, so that no end falls between the two
      const read = await this.read(kind, known.id, owner).catch(() => undefined);
      const record = read ?? known;
      if (hasEnded(record) || signal.aborted) return record;
      await listening.next(signal, read === undefined ? REDIS_AWAY_MS : LOOK_AGAIN_MS);
    }
  }

  /** Listens for events of a job, from now on. */
  listenForEvents(id: string): Listening {
    return this.#listener.listen(EVENT_CHANNEL, id);
  }

  /** Runs commands of another part of the service on the gateway's connection. */
  ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    return this.#within(() => command(this.#redis));
  }

  async close(): Promise<void> {
    await Promise.all(this.#adding);
    this.#redis.disconnect();
    this.#listener.close();
    await Promise.all([...this.#queues.values()].map((queue) => queue.close().catch(() => {}))); // a Redis that is away is no reason not to stop
  }

  /** BullMQ's Queue stays broken when its first command fails: then it is opened again. */
  #openQueue(kind: JobKind): void {
    const queue = new Queue(queueName(kind), { connection: this.#redis });
    this.#queues.set(kind.name, queue);
    queue.on("error", () => {}); // those of the connection, heard already
    queue.waitUntilReady().catch(() => {
      if (this.#redis.status !== "end") setTimeout(() => this.#openQueue(kind), 100);
    });
  }

  #queueOf(id: string): Queue {
    return this.#queues.get(kindOf(id).name)!;
  }

  #within<T>(command: () => Promise<T>): Promise<T> {
    return withinDeadline(this.#redis, command);
  }
}
