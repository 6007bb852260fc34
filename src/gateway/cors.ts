/** Which pages of other origins may call the service (Fetch standard, 3.2). Of @fastify/cors every OPTIONS would be a preflight, also one without an origin. */
import type { FastifyInstance } from "fastify";

/** Request headers beside the safelisted ones that some route reads. */
const READ = [
  "Authorization",
  "Content-Type",
  "Idempotency-Key",
  "If-None-Match",
  "If-Range",
  "Last-Event-ID",
  "Prefer",
  "Range",
];
/** Answer headers beside the safelisted ones that a page may want. */
const EXPOSED = [
  "Accept-Ranges",
  "Allow",
  "Content-Location",
  "Content-Range",
  "ETag",
  "Location",
  "Preference-Applied",
  "RateLimit-Limit",
  "RateLimit-Remaining",
  "RateLimit-Reset",
  "Retry-After",
  "X-Generation-Id",
  "X-Seed",
];
const METHODS = "GET, HEAD, POST, DELETE";
const PREFLIGHT_SECONDS = 600;

/**
 * Says to browsers that these origins may read the answers, and answers their preflights, before a key is asked for: a
 * preflight carries none. Keys are sent in a header, never as cookies, so that credentials need no allowance.
 * @param origins `*` among them = any
 * @returns whether an origin is one of them
 */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): (origin: string) => boolean {
  const any = origins.includes("*");
  const isAllowed = (origin: string) => any || origins.includes(origin);
  if (origins.length === 0) return isAllowed;
  app.addHook("onRequest", async ({ method, headers }, reply) => {
    reply.header("Vary", "Origin");
    const { origin, "access-control-request-method": asked } = headers;
    if (origin === undefined || !isAllowed(origin)) return;
    reply.header("Access-Control-Allow-Origin", any ? "*" : origin);
    reply.header("Access-Control-Expose-Headers", EXPOSED.join(", "));
    if (method !== "OPTIONS" || asked === undefined) return;
    reply.header("Access-Control-Allow-Methods", METHODS);
    const wanted = headers["access-control-request-headers"];
    reply.header("Access-Control-Allow-Headers", any && wanted ? wanted : READ.join(", "));
    return reply.header("Access-Control-Max-Age", String(PREFLIGHT_SECONDS)).code(204).send();
  });
  return isAllowed;
}
