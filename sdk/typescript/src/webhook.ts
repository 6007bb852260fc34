import { Webhook } from "standardwebhooks";
import type { WebhookPayload } from "./generated/index.ts";

/** Headers of Node's requests, or of fetch's. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | string[] | undefined>>;

/**
 * What a webhook tells, once its signature and its time are right.
 *
 * @param body the raw body, not parsed and written anew
 * @param key of GET /v1/webhooks/secret
 * @throws when it is not signed by this key, or older than five minutes
 */
export function verifyWebhook(body: string | Buffer, headers: WebhookHeaders, key: string): WebhookPayload {
  const read = (name: string) => String((headers instanceof Headers ? headers.get(name) : headers[name]) ?? "");
  const names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
  return new Webhook(key).verify(body, Object.fromEntries(names.map((name) => [name, read(name)]))) as WebhookPayload;
}
