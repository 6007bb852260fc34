/**
 * A hostile client. Whatever it sends, the gateway must answer, with nothing from 500 up but 503; the answer must be as the
 * OpenAPI document has it.
 */
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import fc from "fast-check";
import { openApiDocument } from "../../../openapi/document.ts";
import { conforms } from "../conforms.ts";
import { type Attack, attacks } from "./attacks.ts";

/** What an attack came to: the status, or why there is none. */
export interface Answer {
  status: number | "closed" | "late";
  type: string;
  text: string;
}

const nothing = (status: "closed" | "late"): Answer => ({ status, type: "", text: "" });

/** How long an answer may take: nothing here waits for a worker, but an address may have to be given up. */
const LATE_MS = 20_000;

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Sends one and reads the head of the answer, and its body when it is a problem. */
export function send(base: string, { method, path, headers, body }: Attack): Promise<Answer> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(base);
    try {
      const outgoing = httpRequest({ hostname, port, method, path, headers, agent }, (response) => {
        const type = response.headers["content-type"] ?? "";
        const status = response.statusCode!;
        if (status < 400 && type.startsWith("text/event-stream")) {
          response.destroy(); // a stream need not end
          return resolve({ status, type, text: "" });
        }
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("close", () => resolve({ status, type, text }));
      });
      outgoing.setTimeout(LATE_MS, () => outgoing.destroy(new Error("late")));
      outgoing.on("error", (error) => resolve(nothing(error.message === "late" ? "late" : "closed")));
      outgoing.end(body);
    } catch {
      resolve(sendRaw(base, { method, path, headers, body })); // Node's client would not send this
    }
  });
}

/** Sends bytes that are nearly HTTP and reads the status. */
function sendRaw(base: string, { method, path, headers, body = Buffer.alloc(0) }: Attack): Promise<Answer> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(base);
    const socket = connect(Number(port), hostname);
    const lines = Object.entries({ host: "x", connection: "close", "content-length": body.length, ...headers });
    const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
    let text = "";
    socket.on("data", (chunk) => (text += chunk));
    socket.on("error", () => {});
    socket.setTimeout(LATE_MS, () => socket.destroy());
    socket.on("close", () => {
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]);
      resolve(Number.isNaN(status) ? nothing("closed") : { status, type: "", text: "" });
    });
    socket.write(Buffer.concat([Buffer.from(head, "latin1"), body]));
  });
}

/** What is wrong with the answer to a request, by the OpenAPI document too; undefined when nothing is. */
export function fault({ method, path }: Pick<Attack, "method" | "path">, answer: Answer): string | undefined {
  const { status, text } = answer;
  if (status === "late") return "no answer";
  if (status === "closed") return undefined; // as HTTP has it for what is no HTTP; a crash is seen otherwise
  if (status >= 500 && status !== 503) return `status ${status}`;
  if (answer.type === "" || method === "HEAD") return undefined; // nothing more was read of it
  const type = answer.type.split(";")[0]!;
  try {
    const body = type.endsWith("json") && text !== "" ? JSON.parse(text) : {};
    conforms({ status, type, body, request: { method, url: `http://gateway${path}` } });
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}

/** Sends `count` requests, 16 at once. @throws {Error} with the smallest request found that is answered wrongly */
export async function attack(base: string, count: number, seed: number) {
  const document = JSON.parse(await openApiDocument());
  const ids: string[] = [];
  const statuses = new Map<string, number>();
  let sent = 0;
  const AT_ONCE = 16;
  const property = fc.asyncProperty(
    fc.array(attacks(document, ids), { minLength: AT_ONCE, maxLength: AT_ONCE }),
    async (requests) => {
      await Promise.all(
        requests.map(async (request) => {
          const answer = await send(base, request);
          sent++;
          statuses.set(String(answer.status), (statuses.get(String(answer.status)) ?? 0) + 1);
          const wrong = fault(request, answer);
          if (wrong !== undefined) throw new Error(`${wrong}: ${request.method} ${request.path.slice(0, 300)}`);
          if (answer.status === 202 && request.path.startsWith("/v1/generations")) {
            const { id } = JSON.parse(answer.text);
            ids[ids.length < 50 ? ids.length : sent % 50] = id;
          }
        }),
      );
    },
  );
  await fc.assert(property, { numRuns: Math.ceil(count / AT_ONCE), seed });
  return { sent, statuses: Object.fromEntries([...statuses].sort()) };
}
