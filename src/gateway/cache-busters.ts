/** What people append to an address to get past a cache. It says nothing to the service, so it is taken away before schemas see it. */
import type { FastifyInstance } from "fastify";

/** `?_=1` (jQuery), `?_dc=1` (Ext JS), `?t=`, `?ts=`, `?v=2`, `?cb=`, `?nocache=1`, `?1700000000`. */
const NAME = /^(_\w*|t|ts|time|timestamp|v|r|cb|(cache_?)?bust(er|ing)?|no_?cache|refresh|rnd|rand|random|[\d.]+)$/i;
/** A time in seconds or milliseconds, or what Math.random() gives: by whatever name. */
const VALUE = /^(\d{10}|\d{13}|0\.\d{8,})$/;

/** Takes them away from the queries of all that is read, but for what the route's own parameters are called. */
export function takeCacheBustersAway(app: FastifyInstance): void {
  app.addHook("onRequest", async ({ method, query, routeOptions }) => {
    if (method !== "GET" && method !== "HEAD") return;
    const { shape = {} } = (routeOptions.schema?.querystring ?? {}) as { shape?: object };
    const said = query as Record<string, unknown>;
    for (const [name, value] of Object.entries(said)) {
      if (!Object.hasOwn(shape, name) && (NAME.test(name) || VALUE.test(String(value)))) delete said[name];
    }
  });
}
