/** Requests that a client sends on one connection without waiting for their answers. */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";

type Exchange = [request: IncomingMessage, answer: ServerResponse];

/** Of a connection: whether a request is handled, and those that wait. */
interface Line {
  busy: boolean;
  readonly waiting: Exchange[];
}

/**
 * Handles each when the one before is answered, and hears nothing of the connection while one waits: what more there is stays
 * with the system, which stops the client. Node would begin at once all that it has read.
 */
export function oneByOne(handle: RequestListener): RequestListener {
  const lines = new WeakMap<Socket, Line>();

  function begin(socket: Socket, line: Line, [request, answer]: Exchange): void {
    answer.once("close", () => next(socket, line));
    handle(request, answer);
  }

  function next(socket: Socket, line: Line): void {
    const exchange = socket.writable ? line.waiting.shift() : undefined; // a connection that is ended carries no answer
    line.busy = exchange !== undefined;
    if (line.busy && line.waiting.length > 0)
      socket.pause(); // Node has resumed it at the end of the answer
    else if (socket.isPaused()) socket.resume();
    if (exchange !== undefined) setImmediate(begin, socket, line, exchange); // whoever else asks goes first
  }

  return (request, answer) => {
    const { socket } = request;
    const line = lines.get(socket) ?? { busy: false, waiting: [] };
    if (line.busy) {
      line.waiting.push([request, answer]);
      socket.pause();
      return;
    }
    line.busy = true;
    lines.set(socket, line);
    begin(socket, line, [request, answer]);
  };
}
