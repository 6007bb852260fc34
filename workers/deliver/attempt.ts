/** One attempt to deliver a webhook. */
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Addresses } from "../../src/jobs/addresses.ts";
import { type JobRecord, kindOf } from "../../src/jobs/kinds.ts";
import { parseRecord } from "../../src/jobs/record.ts";
import type { Outbound } from "../../src/outbound/client.ts";
import { OutboundError } from "../../src/outbound/errors.ts";
import type { WebhookAttempt } from "../../src/schema/webhook.ts";
import { linkToken } from "../../src/webhooks/links.ts";
import type { Taken } from "../../src/webhooks/outbox.ts";
import { predictionOf } from "../../src/webhooks/prediction.ts";
import { signedHeaders, signingSecrets } from "../../src/webhooks/signing.ts";

/** What became of one attempt. */
export interface AttemptAnswer extends Pick<WebhookAttempt, "status" | "error"> {
  /** It is not to be tried again. */
  final: boolean;
  /** Of `Retry-After`. */
  retryAfterMs?: number;
}

/** What an attempt is made with. */
export interface AttemptParts {
  readonly addresses: Addresses;
  readonly redis: Redis;
  readonly outbound: Outbound;
  readonly log: Logger;
}

/**
 * Signs a webhook and sends it, unless its endpoint is gone.
 * @param timeoutMs from the look-up of the address to the end of the answer
 * @throws nothing: what goes wrong on the way is an answer too
 */
export async function tryOnce(
  { addresses, redis, outbound, log }: AttemptParts,
  taken: Taken,
  at: Date,
  timeoutMs: number,
): Promise<AttemptAnswer> {
  if (taken.gone_at !== null && taken.gone_at > taken.created_at) {
    return { status: null, error: `not tried: the endpoint was gone (410) at ${taken.gone_at}`, final: true };
  }
  try {
    const record = parseRecord(taken.job, taken.record);
    if (record === undefined) return { status: null, error: "an error of the service", final: true };
    const body = await bodyOf(redis, taken, record, addresses);
    const secrets = await signingSecrets(redis, taken.owner);
    const headers = { "content-type": "application/json", ...signedHeaders(secrets, taken.id, at, body) };
    return await post(outbound, taken.url, { headers, body, timeoutMs });
  } catch (error) {
    log.error({ err: error, delivery: taken.id }, "internal error");
    return { status: null, error: "an error of the service", final: false };
  }
}

/** What is told, in the words of the API that the job came by. */
async function bodyOf(
  redis: Redis,
  { job, event, created_at, record: fields }: Taken,
  record: JobRecord,
  addresses: Addresses,
) {
  await addresses.ready();
  const to = fields.seen_at === undefined ? addresses : addresses.seenAt(fields.seen_at);
  if (fields.dialect === "replicate" && record.object === "generation") {
    return JSON.stringify(predictionOf(record, to.publicUrl, await linkToken(redis, job)));
  }
  const data = kindOf(job).show(record, to);
  return JSON.stringify({ type: `${record.object}.${event}`, timestamp: created_at, data });
}

/** Sends it once. @throws nothing: what goes wrong on the way is an answer too. */
async function post(outbound: Outbound, url: string, request: Parameters<Outbound["post"]>[1]): Promise<AttemptAnswer> {
  try {
    const { status, headers } = await outbound.post(url, request);
    if (status >= 200 && status < 300) return { status, error: null, final: false };
    if (status === 410) return { status, error: "the endpoint is gone", final: true };
    const error = status >= 300 && status < 400 ? "redirects are not followed" : "the answer is not 2xx";
    return { status, error, final: false, retryAfterMs: millisecondsOf(headers["retry-after"]) };
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    return { status: null, error: error.message, final: false };
  }
}

/** `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). */
function millisecondsOf(retryAfter: string | string[] | undefined): number {
  if (typeof retryAfter !== "string") return 0;
  const milliseconds = /^\s*\d+\s*$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Number.isNaN(milliseconds) ? 0 : milliseconds;
}
