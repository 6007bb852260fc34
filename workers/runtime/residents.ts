import { totalmem } from "node:os";
import type { Run } from "../../src/diffusion/model.ts";
import { span } from "../../src/observe/span.ts";
import { cardBytes } from "./cuda.ts";
import type { PreparedCache } from "./prepared.ts";
import { bytesInMemory, type Loadable, openPrepared, openSession, type Provider, type Session } from "./runtime.ts";

interface Resident {
  readonly session: Session;
  readonly bytes: number;
  /** The generation that used it last. */
  usedBy: number;
}

/**
 * The networks in memory: loaded when they are first run, each once; when they exceed the budget, those that were used
 * longest ago go first, and never one that the running generation has used.
 */
export class Residents {
  readonly #provider: Provider;
  readonly #cache: PreparedCache;
  /** Bytes of weights that may be in memory. */
  readonly budget: number;
  /** In order of last use, the oldest first. */
  readonly #residents = new Map<Loadable, Resident>();
  readonly #loading = new Map<Loadable, Promise<Resident>>();
  #generation = 0;

  /** @param budget bytes of weights */
  constructor(provider: Provider, cache: PreparedCache, budget = defaultBudget(provider)) {
    this.#provider = provider;
    this.#cache = cache;
    this.budget = budget;
  }

  /** From here on the networks that earlier generations used may go. */
  beginGeneration(): void {
    this.#generation++;
  }

  runner(network: Loadable): Run {
    return async (feeds) => (await this.#resident(network)).session.run(feeds);
  }

  has(network: Loadable): boolean {
    return this.#residents.has(network);
  }

  /** Has it in memory before it is run, unless another would have to go for it. */
  async load(network: Loadable): Promise<void> {
    if (this.has(network) || this.#bytes + bytesInMemory(network, this.#provider) > this.budget) return;
    await this.#resident(network);
  }

  get #bytes(): number {
    return [...this.#residents.values()].reduce((sum, resident) => sum + resident.bytes, 0);
  }

  async #resident(network: Loadable): Promise<Resident> {
    const resident = this.#residents.get(network) ?? (await this.#loadOnce(network));
    resident.usedBy = this.#generation;
    this.#residents.delete(network);
    this.#residents.set(network, resident);
    return resident;
  }

  #loadOnce(network: Loadable): Promise<Resident> {
    const loading =
      this.#loading.get(network) ?? span("load", { bytes: network.weightBytes }, () => this.#load(network));
    this.#loading.set(network, loading);
    return loading.finally(() => this.#loading.delete(network));
  }

  async #load(network: Loadable): Promise<Resident> {
    const bytes = bytesInMemory(network, this.#provider);
    await this.#makeRoom(bytes);
    const session =
      "computation" in network
        ? await openPrepared(network, this.#provider, this.#cache)
        : await openSession(network.graph(this.#provider), this.#provider);
    return { session, bytes, usedBy: this.#generation };
  }

  async #makeRoom(bytes: number): Promise<void> {
    let used = this.#bytes;
    for (const [network, resident] of this.#residents) {
      if (used + bytes <= this.budget) {
        return;
      }
      if (resident.usedBy !== this.#generation) {
        this.#residents.delete(network);
        used -= resident.bytes;
        await resident.session.release();
      }
    }
  }
}

/** Half of the machine's memory, or of what this process's group or its card may have: the rest is for activations. */
export function defaultBudget({ name }: Pick<Provider, "name">, env = process.env): number {
  const limit = process.constrainedMemory();
  const card = name.startsWith("cuda") ? cardBytes(env) : null;
  return Math.min(limit > 0 ? limit : Number.POSITIVE_INFINITY, totalmem(), card ?? Number.POSITIVE_INFINITY) / 2;
}
