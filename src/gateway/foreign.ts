/**
 * Without keys, what reaches the gateway may do everything, and whatever a browser on this machine has open reaches it. So it
 * answers to its own names alone (a name that somebody else's DNS points here is none: DNS rebinding), and lets no other
 * site's page change anything (cross-site request forgery).
 */
import type { FastifyInstance } from "fastify";
import { type Config, isLoopback } from "../config/config.ts";
import { Refused } from "../errors.ts";
import { forwarder } from "./seen-from.ts";

const READING = new Set(["GET", "HEAD", "OPTIONS"]);

/** The name in a Host header or an origin, without its port; undefined when it is none. */
const nameIn = (host: string) => URL.parse(`http://${host}`)?.hostname.replace(/^\[|\]$/g, "");

/**
 * Refuses what is not meant for this gateway, before any body is read.
 * @param isAllowed says which other sites' pages may change something, by their origin
 */
export function refuseForeign(
  app: FastifyInstance,
  config: Pick<Config, "PUBLIC_URL" | "FOLLOWS_PROXY" | "TRUST_PROXY">,
  isAllowed: (origin: string) => boolean = () => false,
): void {
  const own = new URL(config.PUBLIC_URL);
  const seenAt = forwarder(config);
  app.addHook("onRequest", async (request) => {
    const { headers, method } = request;
    const { host = "localhost", origin } = headers; // HTTP/1.0 may do without, browsers never do
    const name = nameIn(host);
    if (name === undefined || !(isLoopback(name) || name === own.hostname.replace(/^\[|\]$/g, ""))) {
      const detail = `without API keys the service answers to this machine's own names and to the host of PUBLIC_URL, not to "${host.slice(0, 100)}"`;
      throw new Refused(403, "foreign_host", detail);
    }
    if (READING.has(method)) return;
    const isOwn = origin === undefined ? headers["sec-fetch-site"] !== "cross-site" : isSame(origin, host);
    const outside = seenAt(request); // another site's page cannot send these headers: they need its preflight answered
    if (
      isOwn ||
      origin === own.origin ||
      (outside !== null && origin === new URL(outside).origin) ||
      (origin !== undefined && isAllowed(origin))
    )
      return;
    const from = origin === undefined ? "of another site" : `of ${origin.slice(0, 100)}`;
    throw new Refused(403, "foreign_origin", `without API keys a page ${from} may not change anything here`);
  });
}

/** Whether a page comes from the host that it asks, by whichever scheme: a proxy may have ended TLS. */
function isSame(origin: string, host: string): boolean {
  const url = URL.parse(origin);
  return url !== null && url.host === URL.parse(`${url.protocol}//${host}`)?.host;
}
