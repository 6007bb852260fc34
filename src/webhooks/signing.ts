/**
 * The secrets that sign webhooks, one of each owner, and the old one for a day after it was replaced. They lie in Redis as
 * they are: whoever signs needs them, so whoever reads this Redis can sign in the service's name.
 */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { Webhook } from "standardwebhooks";
import { script } from "../redis/script.ts";

/** How long a replaced secret goes on signing beside the new one. */
const ROTATION_SECONDS = 24 * 3600;
const currentKey = (owner: string) => `webhooks:secret:${owner}`;
const previousKey = (owner: string) => `webhooks:secret:${owner}:previous`;

/** 256 bits; Standard Webhooks asks for 192 to 512, in base64 after `whsec_`. */
const newSecret = () => `whsec_${randomBytes(32).toString("base64")}`;

/** The owner's secrets that sign now, the current one first. The first call makes it. */
export async function signingSecrets(redis: Redis, owner: string): Promise<[string, ...string[]]> {
  await redis.setnx(currentKey(owner), newSecret());
  const [current, previous] = await redis.mget(currentKey(owner), previousKey(owner));
  return previous === null || previous === undefined ? [current!] : [current!, previous];
}

const runRotate = script(new URL("lua/rotate.lua", import.meta.url));

/** A new secret. A second one within the day ends the oldest at once: that is how a leaked one is got rid of. */
export async function rotateSecret(redis: Redis, owner: string): Promise<string> {
  const secret = newSecret();
  await runRotate(redis, [currentKey(owner), previousKey(owner)], secret, ROTATION_SECONDS);
  return secret;
}

/** The headers of Standard Webhooks (https://www.standardwebhooks.com): one signature a secret; `at` = now. */
export function signedHeaders(secrets: readonly string[], id: string, at: Date, body: string) {
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(" "),
  };
}
