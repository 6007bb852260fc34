/** A receiver of webhooks: its address, and each request as it comes. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}

export async function receive(stack: AsyncDisposableStack): Promise<{ url: string; next: () => Promise<Received> }> {
  const come: Received[] = [];
  const waiting: ((received: Received) => void)[] = [];
  const server = createServer(async (request, response) => {
    const received = { headers: request.headers, body: await text(request) };
    response.writeHead(204).end();
    const first = waiting.shift();
    if (first === undefined) come.push(received);
    else first(received);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  stack.defer(() => void server.close());
  const next = () => {
    const received = come.shift();
    if (received !== undefined) return Promise.resolve(received);
    const { promise, resolve } = Promise.withResolvers<Received>();
    waiting.push(resolve);
    return promise;
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, next };
}
