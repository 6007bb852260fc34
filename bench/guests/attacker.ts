/** One attack, in a process of its own with the lowest priority: its client is to take no time from those who are measured. */
import { connect, type Socket } from "node:net";
import { constants, setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "undici";
import { say } from "../../test/support/elsewhere.ts";
import { ATTACKS, type Attacker } from "./attacks.ts";

export interface Job {
  attack: string;
  url: string;
  key: string;
  seconds: number;
  folder: string;
}

/** Answers by status; 0 = the connection broke. */
export type Answers = Record<string, number>;

const { attack, url, key, seconds, folder } = JSON.parse(process.argv[2]!) as Job;
setPriority(constants.priority.PRIORITY_LOW);
const { hostname, port } = new URL(url);
const authorization = `Bearer ${key}`;
const answers: Answers = {};
const sockets = new Set<Socket>();
const over = AbortSignal.timeout(1000 * seconds);
const count = (status: number) => (answers[status] = (answers[status] ?? 0) + 1);

const attacker: Attacker = {
  over,
  folder,
  async send(method, path, type, body) {
    try {
      const headers = { authorization, ...(type !== undefined && { "content-type": type }) };
      const options = { method: method as "GET", headers, body: body ?? null, signal: over };
      const answer = await request(`${url}${path}`, options);
      count(answer.statusCode);
      return { status: answer.statusCode, body: await answer.body.text() };
    } catch {
      if (!over.aborted) count(0);
      await sleep(50); // what is refused at once is not asked for without a breath
      return { status: 0, body: "{}" };
    }
  },
  open(head, body, reads) {
    const socket = connect(Number(port), hostname);
    sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
    socket.write(`${head}Host: localhost\r\nAuthorization: ${authorization}\r\n\r\n`);
    if (body !== null) socket.write(body);
    if (reads) socket.once("data", (bytes: Buffer) => count(Number(bytes.toString("latin1", 9, 12))));
    else socket.pause();
  },
};

await ATTACKS[attack]!(attacker);
for (const socket of sockets) socket.destroy();
await say(answers);
process.disconnect();
