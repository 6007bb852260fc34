/**
 * Webhook deliveries in Redis: written in the same transaction as the change they tell of, taken by workers/deliver/main.ts,
 * read and replayed by the gateway.
 *
 * A delivery is three keys: the hash `webhook:<id>` (where to, how it stands), the hash `webhook:<id>:generation` (the
 * job's record as it was at the event) and the list `webhook:<id>:attempts` (the log); the id of a training stands in the
 * field `generation` too. The sorted set of due times is the queue: taking a delivery moves its time a lease ahead, so that a process that dies over it only delays
 * it. There is no second queue that could disagree with it.
 */
import type { ChainableCommander, Redis } from "ioredis";
import { kindOf } from "../jobs/kinds.ts";
import { script } from "../redis/script.ts";
import { WEBHOOK_EVENTS, type WebhookAttempt, WebhookDelivery, type WebhookEvent } from "../schema/webhook.ts";

export const DUE = "webhooks:due"; // sorted set: delivery id, when to try it next (ms of Redis' clock)
const SEQUENCE = "webhooks:sequence"; // counter: orders the deliveries of an owner
const deliveryKey = (id: string) => `webhook:${id}`;
const recordKey = (id: string) => `webhook:${id}:generation`;
const attemptsKey = (id: string) => `webhook:${id}:attempts`;
const ownedKey = (owner: string) => `webhooks:of:${owner}`; // sorted set: the owner's delivery ids by SEQUENCE
const goneKey = (owner: string, url: string) => `webhooks:gone:${owner}:${url}`; // when it answered 410

/** The log of a delivery keeps its latest attempts: two whole schedules and some replays. */
const MAX_ATTEMPTS = 20;
/** How long an endpoint that answered 410 counts as gone: longer than any delivery waits. */
const GONE_SECONDS = 48 * 3600;

/** An event happens once to a job: its id needs no dice, and writing it twice changes nothing. */
const eventId = (job: string, event: WebhookEvent) => `evt_${job.replace(/^gen_/, "")}_${event}`;

/**
 * Lua for the scripts of src/jobs/record.ts that change a job's status: `announce(record key, event)` writes the
 * delivery, if the request asks for this event, in the script's own transaction. Call it when the record is as the
 * event shall show it. The names of the keys come from the record, so this needs one Redis, not a Redis Cluster.
 */
export const OUTBOX = `
local NOW = redis.call('TIME')
local function announce(record, event)
  local url, events, owner = unpack(redis.call('HMGET', record, 'webhook_url', 'webhook_events', 'owner'))
  if not url or not string.find(',' .. events .. ',', ',' .. event .. ',', 1, true) then return end
  local job = string.match(record, ':(.*)$')
  local id = 'evt_' .. string.gsub(job, '^gen_', '') .. '_' .. event
  local key = 'webhook:' .. id
  if redis.call('EXISTS', key) == 1 then return end
  local at = redis.call('HGET', record, event == 'started' and 'started_at' or 'ended_at')
  redis.call('COPY', record, key .. ':generation')
  redis.call('HSET', key, 'owner', owner, 'generation', job, 'event', event, 'url', url, 'created_at', at,
    'status', 'pending', 'tries', 0, 'next_attempt_at', at)
  redis.call('ZADD', 'webhooks:of:' .. owner, redis.call('INCR', '${SEQUENCE}'), id)
  redis.call('ZADD', '${DUE}', NOW[1] * 1000 + math.floor(NOW[2] / 1000), id)
end`;

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

const runTake = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local key = 'webhook:' .. id
  if redis.call('EXISTS', key) == 1 then
    redis.call('ZADD', KEYS[1], now + ARGV[2], id)
    redis.call('HINCRBY', key, 'lease', 1)
    local owner, url = unpack(redis.call('HMGET', key, 'owner', 'url'))
    local gone = redis.call('GET', 'webhooks:gone:' .. owner .. ':' .. url)
    table.insert(taken, {id, redis.call('HGETALL', key), redis.call('HGETALL', key .. ':generation'), gone})
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return taken`);

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

const runPostpone = script(`
if redis.call('HGET', KEYS[2], 'lease') ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[1])`);

/** Gives a delivery back without an attempt: it is due again after `waitMs`, for any process. */
export async function postpone(redis: Redis, { id, lease }: Taken, waitMs: number): Promise<void> {
  await runPostpone(redis, [DUE, deliveryKey(id)], id, lease, waitMs);
}

/** The attempt of a process that was too slow is logged too, but what comes next is for the one after it to say. */
const runSettle = script(`
local due, key, attempts = unpack(KEYS)
local id, lease, attempt, status, next_attempt_at, wait = unpack(ARGV)
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('RPUSH', attempts, attempt)
redis.call('LTRIM', attempts, -${MAX_ATTEMPTS}, -1)
if redis.call('HGET', key, 'lease') ~= lease then return 0 end
redis.call('HINCRBY', key, 'tries', 1)
redis.call('HSET', key, 'status', status, 'next_attempt_at', next_attempt_at)
if status == 'pending' then
  local time = redis.call('TIME')
  redis.call('ZADD', due, time[1] * 1000 + math.floor(time[2] / 1000) + wait, id)
else
  redis.call('ZREM', due, id)
end
return 1`);

/** Ends an attempt: writes it into the log, and says when to try again; `waitMs` undefined = never. */
export async function settle(
  redis: Redis,
  { id, lease }: Taken,
  attempt: Omit<WebhookAttempt, "next_attempt_at">,
  outcome: { status: "delivered" | "failed" } | { status: "pending"; waitMs: number },
): Promise<void> {
  const waitMs = outcome.status === "pending" ? Math.round(outcome.waitMs) : 0;
  const next_attempt_at = outcome.status === "pending" ? new Date(Date.now() + waitMs).toISOString() : null;
  const entry = JSON.stringify({ ...attempt, next_attempt_at } satisfies WebhookAttempt);
  const keys = [DUE, deliveryKey(id), attemptsKey(id)];
  await runSettle(redis, keys, id, lease, entry, outcome.status, next_attempt_at ?? "", waitMs);
}

/** Remembers that an endpoint answered 410 Gone: what waited for it by then is not tried any more. */
export async function markGone(redis: Redis, { owner, url }: Taken): Promise<void> {
  await redis.set(goneKey(owner, url), new Date().toISOString(), "EX", GONE_SECONDS);
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
    generation: kind === "generation" ? job : null,
    training: kind === "training" ? job : null,
    type: `${kind}.${delivery.event}`,
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
  const page = await redis.zrange(ownedKey(owner), top, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit + 1, "WITHSCORES");
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

const runReplay = script(`
local due, key = unpack(KEYS)
local owner, url = unpack(redis.call('HMGET', key, 'owner', 'url'))
if owner ~= ARGV[2] or not url then return 0 end
redis.call('HSET', key, 'status', 'pending', 'tries', 0, 'next_attempt_at', ARGV[3])
redis.call('DEL', 'webhooks:gone:' .. owner .. ':' .. url)
local time = redis.call('TIME')
return redis.call('ZADD', due, 'CH', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])`);

/** Sends a delivery again, now, with the whole schedule before it and whatever became of it. */
export async function replay(redis: Redis, owner: string, id: string): Promise<WebhookDelivery | undefined> {
  if (!/^evt_\w+$/.test(id)) return undefined; // with a ":" it would name another key of a delivery
  await runReplay(redis, [DUE, deliveryKey(id)], id, owner, new Date().toISOString());
  return readDelivery(redis, owner, id);
}

/** Adds to a transaction what removes a job's deliveries, those that wait too. */
export function forgetDeliveries(transaction: ChainableCommander, owner: string, job: string): void {
  for (const event of WEBHOOK_EVENTS) {
    const id = eventId(job, event);
    transaction.del(deliveryKey(id), recordKey(id), attemptsKey(id)).zrem(DUE, id).zrem(ownedKey(owner), id);
  }
}

function fieldsOf(flat: string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
  return fields;
}
