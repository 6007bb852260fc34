/** A network that cuts connections: streams of events break off in the midst of one. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";

const TIMES = 2;

/** A way to a gateway on which the first two connections that tell of progress are cut within that event. */
export async function cuttingProxy(stack: AsyncDisposableStack, { PORT, HOST }: { PORT: number; HOST: string }) {
  let [connections, left] = [0, TIMES];
  const server = createServer((client) => {
    connections++;
    const service = connect(PORT, HOST);
    client.pipe(service);
    service.on("data", (piece) => {
      const at = piece.indexOf("event: progress");
      if (at < 0 || left === 0) return client.write(piece);
      left--;
      client.write(piece.subarray(0, at + "event: pro".length), () => client.destroy());
    });
    const end = () => {
      client.destroy();
      service.destroy();
    };
    service.on("end", () => client.end());
    client.on("close", end).on("error", end);
    service.on("error", end);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { address: `http://127.0.0.1:${port}`, connections: () => connections, cuts: () => TIMES - left };
}
