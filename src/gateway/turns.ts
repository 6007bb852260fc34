/** Requests of one owner wait for one another, so that whoever else asks finds few of them ahead, in Redis and in the gateway. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ownerOf } from "./auth.ts";
import type { Bounds } from "./bounds.ts";

type Begin = (end: () => void) => void;

/** So many of an owner at once. Each request takes one, so it is made of less than {@link Places}, which can do more. */
class Turns {
  readonly #most: number;
  /** Of the owners that have a turn: how many, and who waits for one. */
  readonly #owners = new Map<string, { taken: number; waiting: Begin[] }>();

  constructor(most: number) {
    this.#most = most;
  }

  take(owner: string, begin: Begin): void {
    const line = this.#owners.get(owner) ?? { taken: 0, waiting: [] };
    this.#owners.set(owner, line);
    if (line.taken === this.#most) {
      line.waiting.push(begin);
      return;
    }
    line.taken++;
    begin(() => this.#end(owner));
  }

  #end(owner: string): void {
    const line = this.#owners.get(owner)!;
    const begin = line.waiting.shift();
    if (begin !== undefined) {
      queueMicrotask(() => begin(() => this.#end(owner)));
      return;
    }
    line.taken--;
    if (line.taken === 0) this.#owners.delete(owner);
  }
}

/** Of requests that have their turn: ends it. */
const turns = new WeakMap<FastifyRequest, () => void>();

/** Of the requests of all routes that are made after it, but for those that are open to all. */
export function takeTurns(app: FastifyInstance, { readingOfOwner, changingOfOwner, turnMs }: Bounds): void {
  const reading = new Turns(readingOfOwner);
  const changing = new Turns(changingOfOwner);
  app.addHook("preHandler", (request, reply, done) => {
    const { method, routeOptions } = request;
    if (routeOptions.config.open) return done();
    (method === "GET" || method === "HEAD" ? reading : changing).take(ownerOf(request), (end) => {
      if (reply.raw.destroyed) return end(); // the client has left before anything was done
      const late = setTimeout(endTurn, turnMs, request); // it waits for somebody else: an address, a decoder, a disk
      turns.set(request, () => {
        clearTimeout(late);
        end();
      });
      done();
    });
  });
  app.addHook("onSend", (request, _reply, _answer, done) => {
    endTurn(request);
    done();
  });
}

/** Lets the owner's next request begin: this one is answered, or has nothing to do but to wait. */
export function endTurn(request: FastifyRequest): void {
  const end = turns.get(request);
  turns.delete(request);
  end?.();
}
