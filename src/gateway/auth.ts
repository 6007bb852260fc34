/** Who asks: each request belongs to the owner of its API key, or to the one owner that there is without keys. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type ApiKey, ownerOfKey } from "../config/api-keys.ts";
import { Refused } from "../errors.ts";
import { OWNER_WITHOUT_KEYS } from "../jobs/queue.ts";

/** What needs no key: whether the service lives, and how it is used. Every other route needs one, also one that is not there. */
export const isOpen = (route: string | undefined) => /^\/(health|ready|openapi\.json|docs(\/.*)?)$/.test(route ?? "");

/** Lets nobody pass who has none of the keys; when there are none, everybody. Looks at the head alone, before any body is read. */
export function authenticate(app: FastifyInstance, keys: readonly ApiKey[]): void {
  app.decorateRequest("owner", OWNER_WITHOUT_KEYS);
  app.addHook("onRequest", async (request) => {
    if (keys.length === 0 || isOpen(request.routeOptions.url)) return;
    const [, key] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "") ?? [];
    const owner = key === undefined ? undefined : ownerOfKey(keys, key);
    if (owner === undefined) {
      const detail = key === undefined ? "send Authorization: Bearer and an API key" : "nobody has this API key";
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
