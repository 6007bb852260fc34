// The service's API as the page uses it: calls with the key, problems as errors, events as they come.
import { askForKey, currentKey } from "./key.js";

/** Where the service is: the page lies beside its routes, also behind a proxy that adds a path. */
export const BASE = new URL(".", document.baseURI);

/** What the service refuses (RFC 9457), or cannot do. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail @param {{path: string, message: string}[]} errors */
  constructor(status, detail, errors) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

/**
 * Calls the service, and asks for a key when it wants one.
 * @param {string} path relative to the service, or the address of a picture as the service tells it
 * @param {RequestInit} [init]
 * @throws {Problem}
 */
export async function call(path, init = {}) {
  for (;;) {
    const key = currentKey();
    const headers = new Headers(init.headers);
    if (key !== null) headers.set("Authorization", `Bearer ${key}`);
    const answer = await fetch(new URL(path, BASE), { ...init, headers });
    if (answer.ok) return answer;
    if (answer.status !== 401) throw await problemOf(answer);
    await askForKey(key);
  }
}

/** @param {Response} answer */
async function problemOf(answer) {
  const body = await answer.json().catch(() => ({}));
  return new Problem(answer.status, body.detail ?? `The service answers ${answer.status}.`, body.errors ?? []);
}

/** @param {string} path @param {RequestInit} [init] */
export const read = async (path, init) => (await call(path, init)).json();

/** POSTs JSON. @param {string} path @param {unknown} [body] @param {Record<string, string>} [headers] */
export function post(path, body, headers = {}) {
  if (body === undefined) return call(path, { method: "POST", headers });
  const json = { "Content-Type": "application/json", ...headers };
  return call(path, { method: "POST", headers: json, body: JSON.stringify(body) });
}

/** A picture's address as the service tells it, on the service that this page is of. @param {string} url */
export const onThisService = (url) => url.slice(url.indexOf("/v1/") + 1);

/** The picture behind an address of the service. @param {string} url */
export const readPicture = async (url) => (await call(onThisService(url))).blob();

const FINAL = new Set(["succeeded", "failed", "canceled"]);
const AGAIN_MS = 1000;

/**
 * The events of a job to its end, each once, however often the connection breaks. Not by EventSource: it sends no key.
 * @param {string} path
 * @param {AbortSignal} signal stops listening
 * @returns {AsyncGenerator<{id: string, event: string, data: any}>}
 */
export async function* events(path, signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const answer = await call(path, { signal, headers: last === "" ? {} : { "Last-Event-ID": last } });
      if (answer.body === null || answer.status === 204) return;
      for await (const event of parseEvents(answer.body)) {
        last = event.id;
        yield event;
        if (FINAL.has(event.event)) return;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof Problem && error.status < 500)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/**
 * Server-sent events as this service writes them: one line of data each. Not `for await` of the stream: Safari has none.
 * @param {ReadableStream<Uint8Array>} body
 */
async function* parseEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const fields = Object.fromEntries(text.slice(0, end).split("\n").map(fieldOf));
        text = text.slice(end + 2);
        const { id = "", event = "", data } = fields;
        if (data !== undefined) yield { id, event, data: JSON.parse(data) };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** @param {string} line */
const fieldOf = (line) => /** @type {[string, string]} */ ([line.split(":", 1)[0], line.slice(line.indexOf(":") + 2)]);
