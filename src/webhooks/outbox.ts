/**
 * Webhook deliveries in Redis: written in the same transaction as the change they tell of, taken by workers/deliver/main.ts,
 * read and replayed by the gateway.
 *
 * A delivery is three keys: the hash `webhook:<id>` (where to, how it stands), the hash `webhook:<id>:generation` (the
 * job's record as it was at the event, but for the request, which the record has) and the list `webhook:<id>:attempts` (the log); the id of a training stands in the
 * field `generation` too. The sorted set of due times is the queue: taking a delivery moves its time a lease ahead, so that a process that dies over it only delays
 * it. There is no second queue that could disagree with it.
 */
import type { Redis } from "ioredis";
import { ALL_KINDS, kindOf } from "../jobs/kinds.ts";
import { script } from "../redis/script.ts";
import { redisNow } from "../redis/time.ts";
import { WEBHOOK_EVENTS, type WebhookAttempt, WebhookDelivery, type WebhookEvent } from "../schema/webhook.ts";
import { attemptsKey, DELIVERY_NAMES, DUE, deliveriesKey, deliveryKey, goneKey } from "./keys.ts";

/** The log of a delivery keeps its latest attempts: two whole schedules and some replays. */
const MAX_ATTEMPTS = 20;
/** How long an endpoint that answered 410 counts as gone: longer than any delivery waits. */
const GONE_SECONDS = 48 * 3600;

/** An event happens once to a job: its id needs no dice, and writing it twice changes nothing. */
const eventId = (job: string, event: WebhookEvent) => `evt_${job.replace(/^gen_/, "")}_${event}`;

/** A delivery that this process is to try now. */
export interface Taken {
  id: string;
  /** Says that it is still this process' turn, when the attempt is over. */
  lease: number;
  owner: string;
  /** Id of the generation or training that it tells of. */
  job: string;
  event: WebhookEvent;
  url: string;
  created_at: string;
  /** Attempts so far, of this schedule. */
  tries: number;
  /** The fields of the job's record as they were at the event. */
  record: Record<string, string>;
  /** When the endpoint said that it is gone, if it has. */
  gone_at: string | null;
}

const runTake = script(new URL("lua/take.lua", import.meta.url), DELIVERY_NAMES);

/** Takes up to `count` deliveries that are due. One that is not settled within `leaseMs` is due again. */
export async function takeDue(redis: Redis, count: number, leaseMs: number): Promise<Taken[]> {
  const rows = (await runTake(redis, [DUE], count, leaseMs)) as [string, string[], string[], string | null][];
  return rows.map(([id, delivery, record, gone_at]) => {
    const {
      owner,
      generation: job,
      event,
      url,
      created_at,
      lease,
      tries,
    } = fieldsOf(delivery) as Record<string, string>;
    return {
      id,
      owner: owner!,
      job: job!,
      event: event as WebhookEvent,
      url: url!,
      created_at: created_at!,
      lease: Number(lease),
      tries: Number(tries),
      record: fieldsOf(record),
      gone_at,
    };
  });
}

const runPostpone = script(new URL("lua/postpone.lua", import.meta.url), DELIVERY_NAMES);

/** Gives a delivery back without an attempt: it is due again after `waitMs`, for any process. */
export async function postpone(redis: Redis, { id, lease }: Taken, waitMs: number): Promise<void> {
  await runPostpone(redis, [DUE, deliveryKey(id)], id, lease, waitMs);
}

const runSettle = script(new URL("lua/settle.lua", import.meta.url), { ...DELIVERY_NAMES, MAX_ATTEMPTS });

/** Ends an attempt: writes it into the log, and says when to try again; `waitMs` undefined = never. */
export async function settle(
  redis: Redis,
  { id, lease }: Taken,
  attempt: Omit<WebhookAttempt, "next_attempt_at">,
  outcome: { status: "delivered" | "failed" } | { status: "pending"; waitMs: number },
): Promise<void> {
  const waitMs = outcome.status === "pending" ? Math.round(outcome.waitMs) : 0;
  const keys = [DUE, deliveryKey(id), attemptsKey(id)];
  await runSettle(redis, keys, id, lease, JSON.stringify(attempt), outcome.status, waitMs);
}

/** Remembers that an endpoint answered 410 Gone: what waited for it by then is not tried any more. */
export async function markGone(redis: Redis, { owner, url }: Taken): Promise<void> {
  const at = new Date(await redisNow(redis)).toISOString();
  await redis.set(goneKey(owner, url), at, "EX", GONE_SECONDS);
}

/** Undefined when there is none, or it is another owner's. */
export async function readDelivery(redis: Redis, owner: string, id: string): Promise<WebhookDelivery | undefined> {
  const [delivery, attempts] = await Promise.all([
    redis.hgetall(deliveryKey(id)),
    redis.lrange(attemptsKey(id), 0, -1),
  ]);
  if (delivery.owner !== owner) return undefined;
  const job = delivery.generation!;
  const kind = kindOf(job);
  return WebhookDelivery.parse({
    id,
    object: "webhook_delivery",
    ...Object.fromEntries(ALL_KINDS.map(({ name }) => [name, name === kind.name ? job : null])),
    type: `${kind.name}.${delivery.event}`,
    url: delivery.url,
    status: delivery.status,
    attempts: attempts.map((entry) => JSON.parse(entry)),
    next_attempt_at: delivery.next_attempt_at === "" ? null : delivery.next_attempt_at,
    created_at: delivery.created_at,
  });
}

/** The deliveries of one generation or training, newest first. */
export async function deliveriesOf(redis: Redis, owner: string, job: string): Promise<WebhookDelivery[]> {
  const ids = WEBHOOK_EVENTS.toReversed().map((event) => eventId(job, event));
  return readAll(redis, owner, ids);
}

/** All of an owner's deliveries, newest first; `before` = `next` of the page before. */
export async function listDeliveries(redis: Redis, owner: string, limit: number, before?: number) {
  const top = before === undefined ? "+inf" : `(${before}`;
  const page = await redis.zrange(
    deliveriesKey(owner),
    top,
    "-inf",
    "BYSCORE",
    "REV",
    "LIMIT",
    0,
    limit + 1,
    "WITHSCORES",
  );
  const ids = page.filter((_, index) => index % 2 === 0);
  return {
    data: await readAll(redis, owner, ids.slice(0, limit)),
    next: ids.length > limit ? Number(page[2 * limit - 1]) : undefined,
  };
}

async function readAll(redis: Redis, owner: string, ids: string[]): Promise<WebhookDelivery[]> {
  const deliveries = await Promise.all(ids.map((id) => readDelivery(redis, owner, id)));
  return deliveries.filter((delivery) => delivery !== undefined);
}

const runReplay = script(new URL("lua/replay.lua", import.meta.url), DELIVERY_NAMES);

/** Sends a delivery again, now, with the whole schedule before it and whatever became of it. */
export async function replay(redis: Redis, owner: string, id: string): Promise<WebhookDelivery | undefined> {
  if (!/^evt_\w+$/.test(id)) return undefined; // with a ":" it would name another key of a delivery
  await runReplay(redis, [DUE, deliveryKey(id)], id, owner);
  return readDelivery(redis, owner, id);
}

/** The ids of all deliveries that a job can have. */
export const deliveryIds = (job: string) => WEBHOOK_EVENTS.map((event) => eventId(job, event));

function fieldsOf(flat: string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
  return fields;
}
