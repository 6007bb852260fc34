import { Webhook } from "standardwebhooks";
import type { WebhookPayload } from "./generated/index.ts";

/** Headers of fetch's requests, or of Node's. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | string[] | undefined>>;

const SIGNED = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/**
 * What a webhook tells, once its signature and its time are right.
 *
 * @param body the raw body, not parsed and written anew
 * @param key of GET /v1/webhooks/secret
 * @throws when it is not signed by this key, or more than five minutes old
 */
export function verifyWebhook(body: string | Uint8Array, headers: WebhookHeaders, key: string): WebhookPayload {
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const read = (name: string) => String((headers instanceof Headers ? headers.get(name) : headers[name]) ?? "");
  return new Webhook(key).verify(text, Object.fromEntries(SIGNED.map((name) => [name, read(name)]))) as WebhookPayload;
}
