import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/**
 * Ends the connections that have carried nothing when the server closes. Browsers and HTTP clients open some ahead; Node takes
 * them for requests under way, and would wait for their heads to time out.
 */
export function endUnusedConnections(app: FastifyInstance): void {
  const open = new Set<Socket>();
  app.server.on("connection", (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  app.addHook("preClose", async () => {
    for (const socket of open) if (socket.bytesRead === 0) socket.destroy();
  });
}
