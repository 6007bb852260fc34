/**
 * Which addresses may be reached: the policy alone, apart from the client that follows it. A name is looked up once, what it
 * stands for is checked, and exactly that is connected to, so that neither a name that points inside nor one that changes
 * its answer gets through.
 */
import type { LookupAddress } from "node:dns";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import type { Config } from "../config/config.ts";
import { BUT_ALLOWED, OutboundError, refused } from "./errors.ts";
import { NAMES } from "./names.ts";

/** For all that is asked about a name. */
const LOOKUP_MS = 5000;
/** Ports of https that need not be named in ALLOW_HOSTS; the others would make a port scanner of the service. */
const PORTS: ReadonlySet<number> = new Set([443, 8443]);

export class AddressPolicy {
  readonly #allowed: Config["ALLOW_HOSTS"];
  readonly #names: typeof NAMES;

  constructor({ ALLOW_HOSTS }: Pick<Config, "ALLOW_HOSTS">, names = NAMES) {
    this.#allowed = ALLOW_HOSTS;
    this.#names = names;
  }

  /**
   * Whether an address is one to be sent to, as far as can be told within {@link LOOKUP_MS}; what its name stands for is
   * looked up again at every connection. A name that has no address now passes: it may get one.
   * @throws {OutboundError} refused
   */
  async check(address: string): Promise<void> {
    const { hostname, port, protocol } = this.parse(address);
    try {
      await this.resolve(hostname, portOf(port, protocol));
    } catch (error) {
      if (error instanceof OutboundError && error.reason === "refused") throw error;
    }
  }

  /** An address, as far as it can be judged without looking it up. Decimal, octal and hexadecimal hosts become IPs here. */
  parse(address: string, base?: URL): URL {
    const url = URL.parse(address, base?.href);
    if (url === null) throw refused("it is not a valid URL");
    const { protocol, hostname } = url;
    if (protocol !== "https:" && protocol !== "http:") throw refused("only https: is allowed");
    if (url.username !== "" || url.password !== "") throw refused("it may not hold a user name or password");
    const port = portOf(url.port, protocol);
    if (this.#allows(hostname, port)) return url;
    if (protocol !== "https:") throw refused(`only https: is allowed${BUT_ALLOWED}`);
    if (!PORTS.has(port)) {
      throw refused(`port ${port} is not allowed, only ${[...PORTS].join(" and ")}${BUT_ALLOWED}`);
    }
    return url;
  }

  /** What is connected to for a name, or an address as it is. @throws {OutboundError} refused, when none of it is public */
  async resolve(hostname: string, port: number, wanted?: AbortSignal): Promise<LookupAddress[]> {
    const host = bare(hostname);
    const family = isIP(host);
    const addresses = family === 0 ? await this.#lookUp(host, wanted) : [{ address: host, family }];
    if (this.#allows(host, port)) return addresses;
    const open = addresses.filter(({ address }) => isPublic(address));
    if (open.length === 0 && addresses.length > 0) throw refused(`it does not lead to a public address${BUT_ALLOWED}`);
    return open;
  }

  /** Names of strangers are for the name servers alone: of the system's few look-ups, mute servers would hold every one. */
  async #lookUp(host: string, wanted: AbortSignal | undefined): Promise<LookupAddress[]> {
    const late = AbortSignal.timeout(LOOKUP_MS);
    const signal = wanted === undefined ? late : AbortSignal.any([wanted, late]);
    const isOurs = host === "localhost" || this.#allowed.some(({ hostname }) => hostname === host);
    try {
      return await unless(signal, isOurs ? this.#names.system(host) : this.#names.nameServers(host, signal));
    } catch (error) {
      if (!late.aborted || error !== late.reason) throw error;
      throw new OutboundError("timed_out", `what ${host} stands for cannot be learnt within ${LOOKUP_MS / 1000} s`);
    }
  }

  #allows(hostname: string, port: number): boolean {
    return this.#allowed.some((one) => one.hostname === bare(hostname) && (one.port ?? port) === port);
  }
}

/** What IANA has given out for the public internet in IPv6; whatever lies outside is special in some way. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3");
/** Looks public, but is the inside of every machine on Azure (metadata, DNS, agent). */
const AZURE_PLATFORM = "168.63.129.16";

/**
 * Whether an address is one of the public internet: not private, loopback, link-local, shared, multicast, reserved or for
 * documentation, and none of the IPv6 forms that lead to an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo).
 */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const ip = ipaddr.parse(address);
  if (ip.range() !== "unicast") return false;
  return ip instanceof ipaddr.IPv6 ? ip.match(GLOBAL_UNICAST) : ip.toString() !== AZURE_PLATFORM;
}

/** An IPv6 address without the brackets of a URL. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

export function portOf(port: string, protocol: string): number {
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}

/** What the promise gives, unless the signal aborts first: for what does not hear a signal itself. */
export async function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([promise, over]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
