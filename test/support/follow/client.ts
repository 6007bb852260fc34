/** Follows the events of generations, each by a client of its own; some hang up now and then and come back. */
import { createParser } from "eventsource-parser";
import { Agent, request } from "undici";
import { say } from "../elsewhere.ts";

export interface Job {
  url: string;
  /** The generation that each client follows. */
  ids: string[];
  /** Every n-th client hangs up … */
  hangsUp: number;
  /** … after so many events, and comes back with `Last-Event-ID`. */
  after: number;
}

/** What a client saw: ids of events, and when each came (ms of the machine's monotonic clock). */
export type Seen = [event: string, at: number][];

const FINAL = ["succeeded", "failed", "canceled"];
const { url, ids, hangsUp, after } = JSON.parse(process.argv[2]!) as Job;
const dispatcher = new Agent({ connections: null, bodyTimeout: 0 });
let connected = 0;

async function follow(id: string, hangs: boolean): Promise<Seen> {
  const seen: Seen = [];
  let over = false;
  while (!over) {
    const last = seen.at(-1)?.[0];
    const headers = last === undefined ? {} : { "last-event-id": last };
    const answer = await request(`${url}/v1/generations/${id}/events`, { headers, dispatcher });
    if (answer.statusCode !== 200) throw new Error(`${id}: ${answer.statusCode}`);
    let most = hangs ? after : Number.POSITIVE_INFINITY;
    const parser = createParser({
      onEvent(event) {
        if (most-- <= 0) return; // it has hung up
        if (seen.length === 0 && ++connected === ids.length) void say("connected");
        seen.push([event.id!, Number(process.hrtime.bigint()) / 1e6]);
        over = FINAL.includes(event.event!);
      },
    });
    const decoder = new TextDecoder();
    for await (const chunk of answer.body) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      if (over || most <= 0) break;
    }
  }
  return seen;
}

await say(await Promise.all(ids.map((id, n) => follow(id, n % hangsUp === 0))));
await dispatcher.destroy();
process.disconnect();
