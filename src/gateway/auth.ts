/** Who asks: each request belongs to the owner of its API key, or to the one owner that there is without keys. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type ApiKey, OWNER_WITHOUT_KEYS, ownerOfKey } from "../config/api-keys.ts";
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
export function authenticate(app: FastifyInstance, keys: readonly ApiKey[]): void {
  app.decorateRequest("owner", OWNER_WITHOUT_KEYS);
  app.addHook("onRequest", async (request) => {
    if (keys.length === 0 || request.routeOptions.config.open || request.isSigned) return;
    const key = WAYS.map((way) => way(request)).find((sent) => sent !== undefined);
    const owner = key === undefined ? undefined : ownerOfKey(keys, key);
    if (owner === undefined) {
      const detail =
        key === undefined
          ? "send Authorization: Bearer and an API key, or Basic with the key as the password"
          : "unknown API key";
      throw new Refused(401, "unauthorized", detail);
    }
    request.setDecorator("owner", owner);
    request.log = request.log.child({ owner });
  });
}

/** Whose resources a request makes and sees. */
export function ownerOf(request: FastifyRequest): string {
  return request.getDecorator<string>("owner");
}
