/** `Idempotency-Key`: what a client sends again, not knowing whether it arrived, has the effect of sending it once. */
import { createHash } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { Refused } from "../errors.ts";
import type { Idempotency } from "../record.ts";

export const idempotencyHeader = {
  "idempotency-key": z
    .string()
    .min(1)
    .max(255)
    .optional()
    .describe(
      "Any string: for 24 hours the same key with the same body stands for the same resource; with another body it is a 409.",
    ),
};

/** Of each request that has a key, by the body as it was sent: validation fills defaults in. */
const bodies = new WeakMap<FastifyRequest, string>();

/** A `preValidation` hook of the routes that take the header. */
export async function rememberBody(request: FastifyRequest): Promise<void> {
  if (request.headers["idempotency-key"] === undefined) return;
  bodies.set(request, hash(JSON.stringify(request.body ?? null)));
}

export function idempotencyOf(request: FastifyRequest): Idempotency | undefined {
  const key = request.headers["idempotency-key"];
  return typeof key === "string" ? { key: hash(key), body: bodies.get(request)! } : undefined;
}

export function otherBody(): Refused {
  return new Refused(409, "idempotency_key_reused", "this Idempotency-Key has been used with another body");
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}
