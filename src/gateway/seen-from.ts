/** Where a client sees the gateway: at PUBLIC_URL; where none is set, where a proxy that is trusted says that the client asked. */
import proxyAddr from "@fastify/proxy-addr";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Config } from "../config/config.ts";
import type { Addresses } from "../jobs/addresses.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** What the answer's links begin with. */
    addresses: Addresses;
  }
}

const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;
const PREFIX = /^(?:\/[\w.~%-]+)+\/?$/;
const PORT = /^\d{1,5}$/;

/** The last of what proxies have added to a header: that of the nearest. */
const lastOf = (header: string | string[] | undefined) => header?.toString().split(",").at(-1)?.trim();

/**
 * What a proxy says by `X-Forwarded-Proto`, `-Host`, `-Port` and `-Prefix`; null when it says nothing, or what is no address.
 * A proxy that passes the client's `Host` on need not name it again.
 */
export function forwarded({ headers }: Pick<FastifyRequest, "headers">): string | null {
  const [proto, name, port, prefix] = ["proto", "host", "port", "prefix"].map((part) =>
    lastOf(headers[`x-forwarded-${part}`]),
  );
  if ((proto ?? name ?? prefix) === undefined) return null;
  const scheme = proto?.toLowerCase() ?? "http";
  const host = name ?? headers.host ?? "";
  if (!/^https?$/.test(scheme) || !HOST.test(host)) return null;
  const hasPort = /:\d+$/.test(host) || port === undefined || !PORT.test(port);
  const path = prefix !== undefined && PREFIX.test(prefix) ? prefix.replace(/\/$/, "") : "";
  const url = URL.parse(`${scheme}://${host}${hasPort ? "" : `:${port}`}${path}`);
  return url === null ? null : `${url.origin}${path}`; // without the port that the scheme has anyway
}

type Settings = Pick<Config, "FOLLOWS_PROXY" | "TRUST_PROXY">;

/** What a request that a trusted proxy has passed on says of where it was sent to; null = PUBLIC_URL holds. */
export function forwarder({ FOLLOWS_PROXY, TRUST_PROXY }: Settings): (request: FastifyRequest) => string | null {
  if (!FOLLOWS_PROXY) return () => null;
  const isTrusted = proxyAddr.compile(TRUST_PROXY);
  return (request) => (isTrusted(request.socket.remoteAddress ?? "", 0) ? forwarded(request) : null);
}

/** Gives each request the addresses that its answer names. After what opens signed links, which has their secret. */
export function seeFromOutside(app: FastifyInstance, addresses: Addresses, settings: Settings): void {
  const seenAt = forwarder(settings);
  app.decorateRequest("addresses", null as unknown as Addresses);
  app.addHook("onRequest", async (request) => {
    const url = seenAt(request);
    request.addresses = url === null ? addresses : addresses.seenAt(url);
  });
}
