/**
 * npm run bench load: requests that are accepted, events that are followed, webhooks that are delivered, and whether
 * `/health` answers while a worker computes; all of it and the clients on one machine, on loopback alone. SHORT=1 is for
 * trying the bench itself: its figures say nothing.
 */
import { accept } from "./accept.ts";
import { events } from "./events.ts";
import { health } from "./health.ts";
import { webhooks } from "./webhooks.ts";

export async function run(): Promise<void> {
  const short = process.env.SHORT !== undefined;
  await accept(short ? 2 : 10);
  await events(short ? 50 : 900, short ? 5 : 20); // a key may have 1000, and those that come back are there twice for a moment
  await webhooks(short ? 200 : 5000, short ? 50 : 1000);
  await health(short ? 2 : 10);
}
