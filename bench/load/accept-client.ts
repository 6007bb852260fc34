/** Sends the same request again and again: so many a second, or as many as so many connections can. */
import { Pool } from "undici";
import { say } from "../../test/support/elsewhere.ts";
import { pace } from "../../test/support/pace.ts";

export interface Job {
  url: string;
  body: string;
  seconds: number;
  connections: number;
  /** null = each connection sends when it has its answer. */
  perSecond: number | null;
}

export interface Sent {
  /** Of each that was answered with 202, from the moment at which it was due. */
  milliseconds: number[];
  /** Answers other than 202, by status. */
  others: Record<string, number>;
  seconds: number;
}

const { url, body, seconds, connections, perSecond } = JSON.parse(process.argv[2]!) as Job;
const pool = new Pool(url, { connections });
const milliseconds: number[] = [];
const others: Record<string, number> = {};

async function post(due: number): Promise<void> {
  const headers = { "content-type": "application/json" };
  const answer = await pool.request({ method: "POST", path: "/v1/generations", headers, body });
  await answer.body.text();
  if (answer.statusCode === 202) milliseconds.push(performance.now() - due);
  else others[answer.statusCode] = (others[answer.statusCode] ?? 0) + 1;
}

const start = performance.now();
if (perSecond === null) {
  const one = async () => {
    while (performance.now() - start < 1000 * seconds) await post(performance.now());
  };
  await Promise.all(Array.from({ length: connections }, one));
} else {
  const sent: Promise<void>[] = [];
  await pace(perSecond * seconds, perSecond, (_, due) => sent.push(post(due)));
  await Promise.all(sent);
}
await say({ milliseconds, others, seconds: (performance.now() - start) / 1000 } satisfies Sent);
await pool.close();
process.disconnect();
