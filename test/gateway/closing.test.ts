/** A gateway that is asked to stop. */
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { startGateway } from "../support/gateway.ts";

test("connections that a browser opens ahead do not hold up a gateway's end", { timeout: 15_000 }, async () => {
  await using stack = new AsyncDisposableStack();
  const gateway = await startGateway(stack);
  const { HOST, PORT } = gateway.config;
  const used = connect(PORT, HOST);
  used.write("GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await once(used, "data");
  const ahead = connect(PORT, HOST);
  await once(ahead, "connect");
  const ended = [used, ahead].map((socket) => once(socket, "close"));
  for (const socket of [used, ahead]) socket.resume().on("end", () => socket.end());
  await stack.disposeAsync();
  await Promise.all(ended);
});
