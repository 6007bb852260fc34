/**
 * The HTTP client for addresses that strangers name: images to fetch, webhooks to deliver. It must not become their way
 * into the network that the service stands in (server-side request forgery), nor a way to fill its memory or its time.
 *
 * The defence is at the connection: a name is looked up once, what it stands for is checked, and exactly that is connected
 * to, so that neither a name that points inside nor one that changes its answer gets through. Every redirect is a new
 * connection and checked alike. Nothing of the environment is used: no proxy, no cookies, no credentials.
 */
import type { LookupAddress } from "node:dns";
import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { Agent, buildConnector, Client, type Dispatcher } from "undici";
import type { Config } from "../config/config.ts";

/** Redirects that an image may take: a shortened link, a mirror, and two to spare. */
const MAX_REDIRECTS = 4;
/** For all that is asked about a name. */
const LOOKUP_MS = 5000;
/** How long the IPv6 addresses of a name are waited for when its IPv4 addresses are known, or the reverse: some servers never tell. */
const SECOND_ANSWER_MS = 500;
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

interface GetOptions {
  maxBytes: number;
  timeoutMs: number;
  signal?: AbortSignal;
  /** Hears of each piece of the body before it is kept; what it throws ends the fetch. */
  onBytes?: (bytes: number) => void;
}

/** Who says what a name stands for. `system` (getaddrinfo) also reads /etc/hosts, but the whole process has two or so at once. */
export interface Names {
  system(hostname: string): Promise<LookupAddress[]>;
  nameServers(hostname: string, signal: AbortSignal): Promise<LookupAddress[]>;
}

const NAMES: Names = {
  system: (hostname) => lookup(hostname, { all: true }),
  nameServers: askNameServers,
};

export class Outbound {
  readonly #allowed: Config["ALLOW_HOSTS"];
  readonly #names: Names;
  /** What ends each fetch that is under way. */
  readonly #fetches = new Set<AbortController>();
  /** Of webhooks alone: there, one connection serves many. */
  readonly #agent: Agent;

  constructor({ ALLOW_HOSTS }: Pick<Config, "ALLOW_HOSTS">, names = NAMES) {
    this.#allowed = ALLOW_HOSTS;
    this.#names = names;
    this.#agent = new Agent({ connect: (options, callback) => void this.#connect(options, callback) });
  }

  /**
   * Whether an address is one to be sent to, as far as can be told within {@link LOOKUP_MS}; what its name stands for is
   * looked up again at every connection. A name that has no address now passes: it may get one.
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
   * Every connection is its own: no look-up and no connection outlives it, however it ends.
   * @throws {OutboundError}
   */
  async get(address: string, { maxBytes, timeoutMs, signal, onBytes = () => {} }: GetOptions): Promise<Buffer> {
    let url = this.#parse(address);
    const ended = new AbortController();
    this.#fetches.add(ended);
    const until = deadline(timeoutMs, signal, ended.signal);
    // Bytes are taken as they are: whoever compresses them could make gigabytes of a few.
    const headers = { accept: "image/png, image/jpeg, image/webp, image/gif", "accept-encoding": "identity" };
    try {
      for (let redirects = 0; ; redirects++) {
        const connection = new Client(url.origin, {
          connect: (options, callback) => void this.#connect(options, callback, until),
        });
        const answer = await this.#send(connection, url, { method: "GET", headers, signal: until }, timeoutMs);
        const { location, ...rest } = answer.headers;
        if (answer.statusCode >= 300 && answer.statusCode < 400 && typeof location === "string") {
          if (redirects === MAX_REDIRECTS) {
            throw new OutboundError("bad_answer", `${url.hostname} redirects more than ${MAX_REDIRECTS} times`);
          }
          url = this.#parse(location, url);
          continue;
        }
        const encoding = rest["content-encoding"] ?? "identity";
        if (answer.statusCode !== 200) {
          throw new OutboundError("bad_answer", `${url.hostname} answered ${answer.statusCode}`);
        }
        if (encoding !== "identity") {
          const message = `${url.hostname} answered with Content-Encoding: ${encoding}, which was not asked for`;
          throw new OutboundError("bad_answer", message);
        }
        return await read(answer, { maxBytes, timeoutMs, onBytes });
      }
    } finally {
      this.#fetches.delete(ended);
      ended.abort();
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
    const answer = await this.#send(this.#agent, url, { method: "POST", headers, body, signal: until }, timeoutMs);
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
    for (const fetch of this.#fetches) fetch.abort();
    await this.#agent.destroy();
  }

  /** One request and its answer's head; nobody needs to read or to destroy the body when `signal` aborts. */
  async #send(
    dispatcher: Dispatcher,
    url: URL,
    options: Omit<Dispatcher.RequestOptions, "origin" | "path"> & { signal: AbortSignal },
    timeoutMs: number,
  ): Promise<Dispatcher.ResponseData> {
    try {
      const asked = dispatcher.request({ ...options, origin: url.origin, path: url.pathname + url.search });
      const answer = await unless(options.signal, asked); // undici hears the signal only when it is connected
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
  async #resolve(hostname: string, port: number, wanted?: AbortSignal): Promise<LookupAddress[]> {
    const host = bare(hostname);
    const family = isIP(host);
    const addresses = family === 0 ? await this.#lookUp(host, wanted) : [{ address: host, family }];
    if (this.#allows(host, port)) return addresses;
    const open = addresses.filter(({ address }) => isPublic(address));
    if (open.length === 0 && addresses.length > 0) throw refused("it does not lead to a public address");
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

  /** @param wanted ends the connection when it aborts, made or not; absent = it is for whoever comes */
  async #connect(
    options: buildConnector.Options,
    callback: buildConnector.Callback,
    wanted?: AbortSignal,
  ): Promise<void> {
    let addresses: LookupAddress[];
    try {
      addresses = await this.#resolve(options.hostname, portOf(options.port, options.protocol), wanted);
      wanted?.throwIfAborted(); // undici connects anew for a request that was given up
    } catch (error) {
      return callback(error as Error, null);
    }
    const connect = buildConnector({
      timeout: CONNECT_MS,
      autoSelectFamily: true, // which makes Node ask for all addresses
      lookup: (_hostname, _options, answer) => answer(null, addresses),
      signal: wanted,
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

function deadline(timeoutMs: number, ...others: (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any([AbortSignal.timeout(timeoutMs), ...others.filter((signal) => signal !== undefined)]);
}

/** What the promise gives, unless the signal aborts first: for what does not hear a signal itself. */
async function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
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

/**
 * All addresses that the name servers know for a name; search domains and /etc/hosts are for names of the inside. c-ares
 * asks any number of questions at once and can be stopped, which getaddrinfo cannot.
 * @throws the signal's reason, or an error with a code of c-ares
 */
export async function askNameServers(
  hostname: string,
  signal: AbortSignal,
  resolver = new Resolver({ timeout: 1000, tries: 3 }), // its own: `cancel` stops all that a resolver asks
): Promise<LookupAddress[]> {
  signal.throwIfAborted();
  const cancel = () => resolver.cancel();
  signal.addEventListener("abort", cancel);
  const asked = [resolver.resolve4(hostname), resolver.resolve6(hostname)] as const;
  const second = () => setTimeout(cancel, SECOND_ANSWER_MS).unref();
  Promise.any(asked).then(second, () => {});
  const [v4, v6] = await Promise.allSettled(asked);
  signal.removeEventListener("abort", cancel);
  signal.throwIfAborted();
  if (v4.status === "rejected" && v6.status === "rejected") throw v4.reason;
  return [
    ...(v4.status === "fulfilled" ? v4.value : []).map((address) => ({ address, family: 4 })),
    ...(v6.status === "fulfilled" ? v6.value : []).map((address) => ({ address, family: 6 })),
  ];
}

/** A body of at most `maxBytes`; what is more is not read. */
async function read(
  { headers, body }: Dispatcher.ResponseData,
  { maxBytes, timeoutMs, onBytes }: Required<Omit<GetOptions, "signal">>,
): Promise<Buffer> {
  if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of pieces(body, timeoutMs)) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    onBytes(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** A body as it comes, its errors as the client may read them: those of whoever reads it are none of the network's. */
async function* pieces(body: Dispatcher.ResponseData["body"], timeoutMs: number): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (cause) {
    throw told(cause, "the connection", timeoutMs);
  }
}

function tooLarge(maxBytes: number): OutboundError {
  return new OutboundError("too_large", `it has more than the ${maxBytes} bytes that are allowed`);
}

/** Codes of errors that say too little by themselves. */
const SAID: Record<string, string> = {
  ENOTFOUND: "there is no host of that name",
  ENODATA: "no host of that name has an address",
  ETIMEOUT: "its name servers do not answer",
};

/** An error of the network as the client may read it. What the caller's own signal says is passed on. */
function told(cause: unknown, who: string, timeoutMs: number): unknown {
  if (cause instanceof OutboundError) return cause;
  const { name, code } = cause as NodeJS.ErrnoException;
  if (name === "TimeoutError" || name === "ConnectTimeoutError") {
    return new OutboundError("timed_out", `${who} did not answer in full within ${timeoutMs / 1000} s`, { cause });
  }
  if (name === "AbortError") return cause;
  const how = SAID[code ?? ""] ?? code ?? name;
  return new OutboundError("unreachable", `${who} cannot be reached (${how})`, { cause });
}
