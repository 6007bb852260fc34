/**
 * The HTTP client for addresses that strangers name: images to fetch, webhooks to deliver. It must not become their way
 * into the network that the service stands in (server-side request forgery), nor a way to fill its memory or its time.
 *
 * The defence is at the connection: a name is looked up once, what it stands for is checked, and exactly that is connected
 * to, so that neither a name that points inside nor one that changes its answer gets through. Every redirect is a new
 * connection and checked alike. Nothing of the environment is used: no proxy, no cookies, no credentials.
 */
import type { LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { Agent, buildConnector, type Dispatcher } from "undici";
import type { Config } from "./config.ts";

/** Redirects that an image may take: a shortened link, a mirror, and two to spare. */
const MAX_REDIRECTS = 4;
const CONNECT_MS = 10_000;
/** What is read of a webhook's answer, for the log of attempts. */
const MAX_ANSWER_BYTES = 1024;
/** Ports of https that need not be named in ALLOW_HOSTS; the others would make a port scanner of the service. */
const PORTS: ReadonlySet<number> = new Set([443, 8443]);

/**
 * refused: the address is not allowed, and trying again cannot help. unreachable: no such host, no connection, no valid
 * certificate. bad_answer: not a plain 200 with a body as it is.
 */
type Reason = "refused" | "unreachable" | "timed_out" | "too_large" | "bad_answer";

/** A request to a stranger's address has not succeeded. `message` is written for the client, and tells nothing of the inside. */
export class OutboundError extends Error {
  override readonly name = "OutboundError";
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export interface Answer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string | string[] | undefined>;
  /** The first kilobyte. */
  body: string;
}

export class Outbound {
  readonly #allowed: Config["ALLOW_HOSTS"];
  readonly #lookup: (hostname: string) => Promise<LookupAddress[]>;
  readonly #agent: Agent;

  /** @param lookupAll what asks the DNS for all addresses of a name */
  constructor(
    { ALLOW_HOSTS }: Pick<Config, "ALLOW_HOSTS">,
    lookupAll = (hostname: string): Promise<LookupAddress[]> => lookup(hostname, { all: true }),
  ) {
    this.#allowed = ALLOW_HOSTS;
    this.#lookup = lookupAll;
    this.#agent = new Agent({ connect: (options, callback) => void this.#connect(options, callback) });
  }

  /**
   * Whether an address is one to be sent to, as far as can be told now; what its name stands for is looked up again at
   * every connection. A name that has no address now passes: it may get one.
   * @throws {OutboundError} refused
   */
  async check(address: string): Promise<void> {
    const { hostname, port, protocol } = this.#parse(address);
    try {
      await this.#resolve(hostname, portOf(port, protocol));
    } catch (error) {
      if (error instanceof OutboundError && error.reason === "refused") throw error;
    }
  }

  /**
   * The body behind an address, redirects followed. `timeoutMs` is for all of it, from the first look-up to the last byte.
   * @throws {OutboundError}
   */
  async get(
    address: string,
    { maxBytes, timeoutMs, signal }: { maxBytes: number; timeoutMs: number; signal?: AbortSignal },
  ): Promise<Buffer> {
    const until = deadline(timeoutMs, signal);
    // Bytes are taken as they are: whoever compresses them could make gigabytes of a few.
    const headers = { accept: "image/png, image/jpeg, image/webp, image/gif", "accept-encoding": "identity" };
    let url = this.#parse(address);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#send(url, { method: "GET", headers, signal: until }, timeoutMs);
      const { location, ...rest } = answer.headers;
      if (answer.statusCode >= 300 && answer.statusCode < 400 && typeof location === "string") {
        answer.body.destroy();
        if (redirects === MAX_REDIRECTS) {
          throw new OutboundError("bad_answer", `${url.hostname} redirects more than ${MAX_REDIRECTS} times`);
        }
        url = this.#parse(location, url);
        continue;
      }
      const encoding = rest["content-encoding"] ?? "identity";
      const wrong =
        answer.statusCode !== 200
          ? `answered ${answer.statusCode}`
          : encoding !== "identity"
            ? `answered with Content-Encoding: ${encoding}, which was not asked for`
            : undefined;
      if (wrong !== undefined) {
        answer.body.destroy();
        throw new OutboundError("bad_answer", `${url.hostname} ${wrong}`);
      }
      return await read(answer, maxBytes, timeoutMs);
    }
  }

  /**
   * Sends a body; whatever comes back is the answer, a redirect too: none is followed.
   * @throws {OutboundError} when nothing comes back
   */
  async post(
    address: string,
    {
      headers,
      body,
      timeoutMs,
      signal,
    }: { headers: Record<string, string>; body: string; timeoutMs: number; signal?: AbortSignal },
  ): Promise<Answer> {
    const until = deadline(timeoutMs, signal);
    const url = this.#parse(address);
    const answer = await this.#send(url, { method: "POST", headers, body, signal: until }, timeoutMs);
    let start = Buffer.alloc(0);
    try {
      for await (const chunk of answer.body) {
        start = Buffer.concat([start, chunk]);
        if (start.length >= MAX_ANSWER_BYTES) break;
      }
    } catch {
      // The status is what counts: an answer that breaks off is one all the same.
    }
    return { status: answer.statusCode, headers: answer.headers, body: start.toString("utf8", 0, MAX_ANSWER_BYTES) };
  }

  /** Ends every connection at once. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** One request and its answer's head; nobody needs to read or to destroy the body when `signal` aborts. */
  async #send(
    url: URL,
    options: Omit<Dispatcher.RequestOptions, "origin" | "path"> & { signal: AbortSignal },
    timeoutMs: number,
  ): Promise<Dispatcher.ResponseData> {
    const { promise: over, reject } = Promise.withResolvers<never>();
    const { signal } = options;
    signal.addEventListener("abort", () => reject(signal.reason));
    if (signal.aborted) reject(signal.reason);
    try {
      const asked = this.#agent.request({ ...options, origin: url.origin, path: url.pathname + url.search });
      const answer = await Promise.race([asked, over]); // undici hears the signal only when it is connected
      answer.body.on("error", () => {}); // a body that is left unread says so, and an error unheard ends the process
      return answer;
    } catch (cause) {
      throw told(cause, url.hostname, timeoutMs);
    }
  }

  /** An address, as far as it can be judged without looking it up. Decimal, octal and hexadecimal hosts become IPs here. */
  #parse(address: string, base?: URL): URL {
    const url = URL.parse(address, base?.href);
    if (url === null) throw refused("it is not a valid URL");
    const { protocol, hostname } = url;
    if (protocol !== "https:" && protocol !== "http:") throw refused("only https: is allowed");
    if (url.username !== "" || url.password !== "") throw refused("it may not hold a user name or password");
    const port = portOf(url.port, protocol);
    if (this.#allows(hostname, port)) return url;
    if (protocol !== "https:") throw refused("only https: is allowed");
    if (!PORTS.has(port)) throw refused(`port ${port} is not allowed, only ${[...PORTS].join(" and ")}`);
    return url;
  }

  /** What is connected to for a name, or an address as it is. @throws {OutboundError} refused, when none of it is public */
  async #resolve(hostname: string, port: number): Promise<LookupAddress[]> {
    const host = bare(hostname);
    const family = isIP(host);
    const addresses = family === 0 ? await this.#lookup(host) : [{ address: host, family }];
    if (this.#allows(host, port)) return addresses;
    const open = addresses.filter(({ address }) => isPublic(address));
    if (open.length === 0 && addresses.length > 0) throw refused("it does not lead to a public address");
    return open;
  }

  async #connect(options: buildConnector.Options, callback: buildConnector.Callback): Promise<void> {
    let addresses: LookupAddress[];
    try {
      addresses = await this.#resolve(options.hostname, portOf(options.port, options.protocol));
    } catch (error) {
      return callback(error as Error, null);
    }
    const connect = buildConnector({
      timeout: CONNECT_MS,
      autoSelectFamily: true, // which makes Node ask for all addresses
      lookup: (_hostname, _options, answer) => answer(null, addresses),
    });
    connect(options, callback);
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

function portOf(port: string, protocol: string): number {
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}

function refused(why: string): OutboundError {
  return new OutboundError("refused", `the address is refused: ${why}`);
}

function deadline(timeoutMs: number, signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(timeoutMs);
  return signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
}

/** A body of at most `maxBytes`; what is more is not read. */
async function read({ headers, body }: Dispatcher.ResponseData, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = Number(headers["content-length"] ?? 0);
  try {
    if (length > maxBytes) throw tooLarge(maxBytes);
    length = 0;
    for await (const chunk of body) {
      length += chunk.length;
      if (length > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
  } catch (cause) {
    throw told(cause, "the connection", timeoutMs);
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks, length);
}

function tooLarge(maxBytes: number): OutboundError {
  return new OutboundError("too_large", `it has more than the ${maxBytes} bytes that are allowed`);
}

/** An error of the network as the client may read it. What the caller's own signal says is passed on. */
function told(cause: unknown, who: string, timeoutMs: number): unknown {
  if (cause instanceof OutboundError) return cause;
  const { name, code } = cause as NodeJS.ErrnoException;
  if (name === "TimeoutError" || name === "ConnectTimeoutError") {
    return new OutboundError("timed_out", `${who} did not answer in full within ${timeoutMs / 1000} s`, { cause });
  }
  if (name === "AbortError") return cause;
  const how = code === "ENOTFOUND" ? "there is no host of that name" : (code ?? name);
  return new OutboundError("unreachable", `${who} cannot be reached (${how})`, { cause });
}
