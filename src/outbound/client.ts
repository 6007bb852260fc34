/**
 * The HTTP client for addresses that strangers name: images to fetch, webhooks to deliver. It must not become their way
 * into the network that the service stands in (server-side request forgery), nor a way to fill its memory or its time.
 *
 * The defence is at the connection (address.ts says which are allowed): every redirect is a new connection and checked
 * alike. Nothing of the environment is used: no proxy, no cookies, no credentials.
 */
import type { LookupAddress } from "node:dns";
import { Agent, buildConnector, Client, type Dispatcher } from "undici";
import type { Config } from "../config/config.ts";
import { AddressPolicy, portOf, unless } from "./address.ts";
import { brokenOff, CONNECT_MS, OutboundError, told } from "./errors.ts";
import { NAMES } from "./names.ts";
import { userAgent } from "./user-agent.ts";

/** Redirects that an image may take: a shortened link, a mirror, and two to spare. */
const MAX_REDIRECTS = 4;
/** What is read of a webhook's answer, for the log of attempts. */
const MAX_ANSWER_BYTES = 1024;
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

export class Outbound {
  readonly #policy: AddressPolicy;
  readonly #userAgent: string;
  /** What ends each fetch that is under way. */
  readonly #fetches = new Set<AbortController>();
  /** Of webhooks alone: there, one connection serves many. */
  readonly #agent: Agent;

  constructor(config: Pick<Config, "ALLOW_HOSTS" | "PUBLIC_URL">, names = NAMES) {
    this.#userAgent = userAgent(config.PUBLIC_URL);
    this.#policy = new AddressPolicy(config, names);
    this.#agent = new Agent({ connect: (options, callback) => void this.#connect(options, callback) });
  }

  /** See {@link AddressPolicy.check}. */
  check(address: string): Promise<void> {
    return this.#policy.check(address);
  }

  /**
   * The body behind an address, redirects followed. `timeoutMs` is for all of it, from the first look-up to the last byte.
   * Every connection is its own: no look-up and no connection outlives it, however it ends.
   * @throws {OutboundError}
   */
  async get(address: string, { maxBytes, timeoutMs, signal, onBytes = () => {} }: GetOptions): Promise<Buffer> {
    let url = this.#policy.parse(address);
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
          url = this.#policy.parse(location, url);
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
    const url = this.#policy.parse(address);
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
      const headers = { "user-agent": this.#userAgent, ...(options.headers as Record<string, string>) };
      const asked = dispatcher.request({ ...options, headers, origin: url.origin, path: url.pathname + url.search });
      const answer = await unless(options.signal, asked); // undici hears the signal only when it is connected
      answer.body.on("error", () => {}); // a body that is left unread says so, and an error unheard ends the process
      return answer;
    } catch (cause) {
      throw told(cause, url.hostname, timeoutMs);
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
      addresses = await this.#policy.resolve(options.hostname, portOf(options.port, options.protocol), wanted);
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
}

function deadline(timeoutMs: number, ...others: (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any([AbortSignal.timeout(timeoutMs), ...others.filter((signal) => signal !== undefined)]);
}

/** A body of at most `maxBytes`; what is more is not read. */
async function read(
  { headers, body }: Dispatcher.ResponseData,
  { maxBytes, timeoutMs, onBytes }: Required<Omit<GetOptions, "signal">>,
): Promise<Buffer> {
  if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  const announced = headers["content-length"];
  const broken = (cause: unknown) => brokenOff(told(cause, "the connection", timeoutMs), length, announced);
  for await (const chunk of pieces(body, broken)) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    onBytes(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** A body as it comes, its errors as the client may read them: those of whoever reads it are none of the network's. */
async function* pieces(
  body: Dispatcher.ResponseData["body"],
  broken: (cause: unknown) => unknown,
): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (cause) {
    throw broken(cause);
  }
}

function tooLarge(maxBytes: number): OutboundError {
  return new OutboundError("too_large", `it has more than the ${maxBytes} bytes that are allowed`);
}
