/** Tokens for addresses that are opened without a key: who has one may read that one job's pictures, or follow it. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Redis } from "ioredis";

const SECRET = "links:secret";

/** What all links of an installation are signed with. The first call makes it. */
export async function linkSecret(redis: Redis): Promise<string> {
  const known = await redis.get(SECRET);
  if (known === null) await redis.setnx(SECRET, randomBytes(32).toString("base64url"));
  return known ?? (await redis.get(SECRET))!;
}

/** The token of a job; the same each time. */
export async function linkToken(redis: Redis, job: string): Promise<string> {
  return createHmac("sha256", await linkSecret(redis))
    .update(job)
    .digest("base64url");
}

/** Whether a token is that of the job. Takes as long for one that is nearly right as for any other. */
export async function opens(redis: Redis, job: string, token: string): Promise<boolean> {
  const [wanted, sent] = [Buffer.from(await linkToken(redis, job)), Buffer.from(token)];
  return wanted.length === sent.length && timingSafeEqual(wanted, sent);
}
