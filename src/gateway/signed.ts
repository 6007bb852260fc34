/** Links that are opened without a key (PUBLIC_IMAGES=signed): whoever has one may read that picture until it expires. */
import type { FastifyInstance } from "fastify";
import { Refused } from "../errors.ts";
import type { Addresses } from "../jobs/addresses.ts";
import { ownerOfRecord } from "../jobs/list.ts";
import type { JobQueue } from "../jobs/queue.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** A picture of the job `:id`, whose address may be signed. */
    signable?: boolean;
  }
  interface FastifyRequest {
    /** Its address is signed, and it has its owner by that: it needs no key. */
    isSigned: boolean;
  }
}

/** Before keys are looked at. */
export function openSigned(app: FastifyInstance, addresses: Addresses, queue: JobQueue): void {
  app.decorateRequest("isSigned", false);
  app.addHook("onRequest", async (request) => {
    const { config } = request.routeOptions;
    if (config.open) return;
    await addresses.ready();
    if (!config.signable) return;
    const signature = await addresses.signatureOf(request.url.split("?")[0]!, request.query);
    if (signature === undefined) return;
    if (signature !== "good") {
      throw new Refused(403, `link_${signature}`, `the signature of this address is ${signature}: ask for a new one`);
    }
    const { id } = request.params as { id: string };
    const owner = await queue.ask((redis) => ownerOfRecord(redis, id));
    if (owner === null) throw new Refused(404, "not_found", `there is no "${id}" any more`);
    request.setDecorator("owner", owner);
    request.isSigned = true;
    const query = request.query as Record<string, unknown>;
    delete query.expires; // the route's own schema need not know of them
    delete query.signature;
  });
}
