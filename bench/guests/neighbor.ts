/** Somebody who uses the service as it is meant: makes generations, gets pictures, uploads, follows events; and how it went. */
import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import type { Generation } from "../../src/schema/generation.ts";

export interface Seen {
  /** Milliseconds of each GET of a finished picture, each generation from its sending to its end, each upload. */
  gets: number[];
  generations: number[];
  /** The longest that a generation took, or had taken when the time was over. */
  longest: number;
  uploads: number[];
  /** From an event to the client's having it, by the machine's one clock. */
  events: number[];
  /** Answers of 429 and 503 to what was asked for, each asked for again. */
  refused: number;
  /** What has failed though it was accepted, and answers that should not be. */
  failures: string[];
}

const GET_EVERY_MS = 25;
const UPLOAD_EVERY_MS = 250;
const AGAIN_MS = 200;

/** @param request of a generation @param png that is uploaded again and again @param extra is done beside it, in a circle */
export async function live(
  url: string,
  key: string,
  request: object,
  png: Buffer,
  over: AbortSignal,
  seen: Seen = { gets: [], generations: [], longest: 0, uploads: [], events: [], refused: 0, failures: [] },
): Promise<Seen> {
  const authorization = `Bearer ${key}`;
  let latest: string | undefined;

  /** Asks until it is neither 429 nor 503; a connection that breaks is a failure. */
  async function ask(path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
    for (;;) {
      const answer = await fetch(`${url}${path}`, { ...init, headers: { authorization, ...init.headers } });
      if ((answer.status !== 429 && answer.status !== 503) || over.aborted) return answer;
      await answer.body?.cancel();
      seen.refused++;
      await sleep(AGAIN_MS);
    }
  }
  const fail = (what: string, error: unknown) => {
    if (!over.aborted) seen.failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  };

  async function again(what: string, everyMs: number, once: () => Promise<void>): Promise<void> {
    while (!over.aborted) {
      await once().catch((error) => fail(what, error));
      await sleep(everyMs, undefined, { signal: over }).catch(() => {});
    }
  }

  async function generate(): Promise<void> {
    const sent = performance.now();
    const headers = { "content-type": "application/json" };
    const answer = await ask("/v1/generations", { method: "POST", headers, body: JSON.stringify(request) });
    if (answer.status !== 202) return over.aborted ? undefined : fail("generation", await answer.text());
    const { id } = (await answer.json()) as Generation;
    const ended = await follow(id);
    const took = performance.now() - sent;
    seen.longest = Math.max(seen.longest, took);
    if (ended === undefined) return;
    seen.generations.push(took);
    if (ended.status !== "succeeded") fail("generation", JSON.stringify(ended.error));
    else latest = id;
  }

  /** The generation at its end, as its events tell of it; undefined when the time was over before. */
  async function follow(id: string): Promise<Generation | undefined> {
    let ended: Generation | undefined;
    const parser = createParser({
      onEvent({ event, data }) {
        const { started_at, ended_at, ...generation } = JSON.parse(data) as Generation;
        const at = event === "started" ? started_at : ended_at;
        if (at) seen.events.push(Math.max(0, Date.now() - Date.parse(at)));
        if (ended_at) ended = { ...generation, started_at, ended_at };
      },
    });
    while (ended === undefined && !over.aborted) {
      const answer = await ask(`/v1/generations/${id}/events`, { signal: over });
      for await (const bytes of answer.body!) parser.feed(Buffer.from(bytes).toString());
    }
    return ended;
  }

  async function get(): Promise<void> {
    if (latest === undefined) return;
    const asked = performance.now();
    const answer = await ask(`/v1/generations/${latest}/images/0`);
    const bytes = await answer.arrayBuffer();
    seen.gets.push(performance.now() - asked);
    if (answer.status !== 200 || bytes.byteLength === 0) fail("picture", answer.status);
  }

  async function upload(): Promise<void> {
    const asked = performance.now();
    const headers = { "content-type": "image/png" };
    const answer = await ask("/v1/uploads", { method: "POST", headers, body: new Uint8Array(png) });
    const { id } = (await answer.json()) as { id: string };
    seen.uploads.push(performance.now() - asked);
    if (answer.status !== 201) return over.aborted ? undefined : fail("upload", answer.status);
    await ask(`/v1/uploads/${id}`, { method: "DELETE" });
  }

  await Promise.all([
    again("generation", 0, generate),
    again("picture", GET_EVERY_MS, get),
    again("upload", UPLOAD_EVERY_MS, upload),
  ]);
  return seen;
}
