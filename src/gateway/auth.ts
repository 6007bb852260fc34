/** Who asks: each request belongs to the owner of its API key, or to the one owner that there is without keys. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { findKey, OWNER_WITHOUT_KEYS, type SafetyMode } from "../config/api-keys.ts";
import type { Config } from "../config/config.ts";
import { Refused } from "../errors.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Needs no key: whether the service lives, and how it is used. Every other route needs one, also one that is not there. */
    open?: boolean;
  }
}

/** Takes the API key out of a request's head; undefined when it was not sent this way. */
type Way = (request: FastifyRequest) => string | undefined;

/** The ways to send an API key, in the order in which they are looked for. */
const WAYS: readonly Way[] = [bearer, basic];

/** `Authorization: Bearer <key>` (RFC 6750). */
function bearer({ headers }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
}

/**
 * `Authorization: Basic` (RFC 7617), which clients of AUTOMATIC1111's web UI send: the key is the password, and the user name
 * whatever it may be; or it is the user name, of one without a password.
 */
function basic({ headers }: FastifyRequest): string | undefined {
  const encoded = /^Basic +([\w+/]+=*)$/i.exec(headers.authorization ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const [user = "", ...password] = Buffer.from(encoded, "base64").toString().split(":");
  return password.join(":") || user; // an empty password is none
}

/** Lets nobody pass who has none of the keys; when there are none, everybody. Looks at the head alone, before any body is read. */
export function authenticate(
  app: FastifyInstance,
  { API_KEYS: keys, SAFETY_CHECKER }: Pick<Config, "API_KEYS" | "SAFETY_CHECKER">,
): void {
  app.decorateRequest("safety", SAFETY_CHECKER);
  app.decorateRequest("owner", OWNER_WITHOUT_KEYS);
  app.addHook("onRequest", async (request) => {
    if (keys.length === 0 || request.routeOptions.config.open || request.isSigned) return;
    const key = WAYS.map((way) => way(request)).find((sent) => sent !== undefined);
    const known = key === undefined ? undefined : findKey(keys, key);
    if (known === undefined) {
      const detail =
        key === undefined
          ? "send Authorization: Bearer and an API key, or Basic with the key as the password"
          : "unknown API key";
      throw new Refused(401, "unauthorized", detail);
    }
    const { name: owner, safety_checker = SAFETY_CHECKER } = known;
    request.setDecorator("owner", owner);
    request.setDecorator("safety", safety_checker);
    request.log = request.log.child({ owner });
  });
}

/** Whose resources a request makes and sees. */
export function ownerOf(request: FastifyRequest): string {
  return request.getDecorator<string>("owner");
}

/** Whether the pictures that a request asks for are checked, and what becomes of those that are flagged: by its key, or for all. */
export function safetyOf(request: FastifyRequest): SafetyMode {
  return request.getDecorator<SafetyMode>("safety");
}
