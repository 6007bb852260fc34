/**
 * `Idempotency-Key`: what a client sends again, not knowing whether it arrived, has the effect of sending it once. A
 * generation remembers its key in the very script that accepts it (src/jobs/lua/submit.lua); of every other POST the answer is kept.
 */
import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { Refused } from "../errors.ts";
import type { JobQueue } from "../jobs/queue.ts";
import type { Idempotency } from "../jobs/submit.ts";
import { ownerOf } from "./auth.ts";

const KEPT_SECONDS = 24 * 3600;
/** How long a request that is not answered yet holds its key, should its gateway die. */
const HELD_SECONDS = 60;
const LONGEST_KEY = 255;

export const idempotencyHeader = {
  "idempotency-key": z
    .string()
    .min(1)
    .max(LONGEST_KEY)
    .optional()
    .describe(
      "Any string: for 24 hours the same key with the same body stands for the same resource; with another body it is a 409.",
    ),
};

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route looks after the keys of its requests itself, with {@link idempotencyOf}. */
    ownKeys?: boolean;
    /** Its answers are not kept, for they show what may be deleted meanwhile: it answers again, see {@link isRepeated}. */
    answersAnew?: boolean;
  }
}

/** Of each request that has a key, by the body as it was sent: validation fills defaults in. */
const bodies = new WeakMap<FastifyRequest, string>();

export function idempotencyOf(request: FastifyRequest): Idempotency | undefined {
  const key = request.headers["idempotency-key"];
  return typeof key === "string" ? { key: hash(key), body: bodies.get(request)! } : undefined;
}

const repeated = new WeakSet<FastifyRequest>();

/** Whether a request of a route that answers anew has been carried out before: it is to have no effect then. */
export const isRepeated = (request: FastifyRequest): boolean => repeated.has(request);

export function otherBody(): Refused {
  return new Refused(409, "idempotency_key_reused", "this Idempotency-Key has been used with another body");
}

interface Kept {
  /** Hash of what was asked. */
  asked: string;
  /** Absent as long as there is none. */
  answer?: { status: number; headers: Record<string, string>; body: string } | "anew";
}

/** The one field in which null is a value as any other: what it holds is the client's own. */
const CLIENTS_OWN = "metadata";

/** The JSON of a body, whatever the order of its keys; a field that is null is as one that is absent. */
function canonicalJson(body: unknown): string {
  const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);
  const ofOwn = (own: unknown) =>
    JSON.stringify(own, (_key, value) => (isObject(value) ? Object.fromEntries(inOrder(value)) : value));
  const ofFields = (value: object) =>
    inOrder(value).flatMap(([key, part]) => {
      if (part === null) return [];
      return [[key, key === CLIENTS_OWN ? ofOwn(part) : part]];
    });
  try {
    return JSON.stringify(body ?? null, (_key, value) =>
      isObject(value) ? Object.fromEntries(ofFields(value)) : value,
    );
  } catch {
    throw new Refused(400, "invalid_request", "the body is nested too deeply");
  }
}

const inOrder = (value: object) => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));

/** Keeps the answers to POSTs that have a key, and gives them again, for all routes that are made after it. */
export function rememberAnswers(app: FastifyInstance, queue: JobQueue): void {
  /** Requests that hold their key, and under what. */
  const holding = new WeakMap<FastifyRequest, { name: string; asked: string }>();

  app.addHook("preValidation", async (request) => {
    const key = request.headers["idempotency-key"];
    if (request.method !== "POST" || key === undefined) return;
    if (typeof key !== "string" || key === "" || key.length > LONGEST_KEY) {
      throw new Refused(400, "invalid_request", `Idempotency-Key must have 1 to ${LONGEST_KEY} characters`);
    }
    const { body } = request;
    bodies.set(request, hash(Buffer.isBuffer(body) ? body : canonicalJson(body)));
  });

  app.addHook("preHandler", async (request, reply) => {
    const idempotency = idempotencyOf(request);
    if (request.method !== "POST" || idempotency === undefined || request.routeOptions.config.ownKeys) return;
    const name = `idempotency:${ownerOf(request)}:answer:${idempotency.key}`;
    const asked = hash(`${request.url} ${idempotency.body}`);
    const hold = JSON.stringify({ asked } satisfies Kept);
    const before = await queue.ask((redis) => redis.set(name, hold, "EX", HELD_SECONDS, "NX", "GET"));
    if (before === null) {
      holding.set(request, { name, asked });
      return;
    }
    const kept = JSON.parse(before) as Kept;
    if (kept.asked !== asked) throw otherBody();
    if (kept.answer === undefined) {
      throw new Refused(
        409,
        "idempotency_key_in_use",
        "the first request with this Idempotency-Key is not answered yet",
      );
    }
    if (kept.answer === "anew") {
      repeated.add(request);
      return;
    }
    const { status, headers, body } = kept.answer;
    return reply.code(status).headers(headers).serializer(String).send(body);
  });

  app.addHook("onSend", async (request, reply, payload) => {
    const held = holding.get(request);
    if (held === undefined) return;
    const { name, asked } = held;
    const keeps = reply.statusCode < 300 && typeof payload === "string";
    const headers = Object.fromEntries(
      ["content-type", "location"].flatMap((header) => {
        const value = reply.getHeader(header);
        return value === undefined ? [] : [[header, String(value)]];
      }),
    );
    const answer = { status: reply.statusCode, headers, body: String(payload) };
    const kept: Kept = { asked, answer: request.routeOptions.config.answersAnew ? "anew" : answer };
    await queue
      .ask<unknown>((redis) => (keeps ? redis.set(name, JSON.stringify(kept), "EX", KEPT_SECONDS) : redis.del(name)))
      .catch((error) => request.log.warn({ err: error }, "the answer is not kept for its Idempotency-Key"));
  });
}

function hash(what: string | Buffer): string {
  return createHash("sha256").update(what).digest("base64url");
}
