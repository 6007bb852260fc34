/** What clients that follow events see, and when. */
import { follow } from "../../test/support/follow/follow.ts";
import { printTable, spread } from "../table.ts";

export async function events(clients: number, steps: number): Promise<void> {
  const { events, wrong, milliseconds, memory } = await follow(clients, steps);
  const head = ["clients", "events", "not each once and in order", "p50, ms", "p99, ms", "max, ms"];
  const { before, connected, most } = memory;
  const megabytes = [before, connected, most].map((value) => value.toFixed(0));
  printTable(
    [...head, "gateway, MB: before, connected, most"],
    [[clients, events, wrong, ...spread(milliseconds), megabytes.join(", ")]],
  );
  if (wrong > 0) throw new Error(`${wrong} clients did not see every event once and in order`);
}
