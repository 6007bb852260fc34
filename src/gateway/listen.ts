import { lookup } from "node:dns/promises";
import { type AddressInfo, createServer } from "node:net";
import type { FastifyInstance } from "fastify";
import type { Config } from "../config/config.ts";

/** Listens where the installation says: of `localhost` at both addresses, of which Fastify takes one where it was given its server. */
export async function listen(app: FastifyInstance, { HOST: host, PORT: port }: Pick<Config, "HOST" | "PORT">) {
  const second = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    app.server.emit("connection", socket),
  );
  second.on("error", () => {}); // the first will do
  app.addHook("preClose", async () => void second.close());
  await app.listen({ host, port });
  if (host !== "localhost") return;
  const first = app.server.address() as AddressInfo;
  const other = (await lookup(host, { all: true })).find(({ address }) => address !== first.address);
  if (other !== undefined) second.listen(port, other.address);
}
