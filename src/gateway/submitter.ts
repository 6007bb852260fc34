/** Who submits a job, as a request says it. */
import type { FastifyRequest } from "fastify";
import type { SafetyMode } from "../config/api-keys.ts";
import type { Dialect } from "../config/config.ts";
import type { Submitter } from "./accept.ts";
import { ownerOf, safetyOf } from "./auth.ts";
import { idempotencyOf } from "./idempotency.ts";

/** @param dialect the API that it was asked by, when that is not our own */
export function submitterOf(request: FastifyRequest, dialect?: Dialect): Submitter & { safety: SafetyMode } {
  return {
    owner: ownerOf(request),
    idempotency: idempotencyOf(request),
    safety: safetyOf(request),
    dialect,
    seenAt: request.addresses.publicUrl,
    log: request.log,
  };
}
