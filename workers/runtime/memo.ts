import { createHash } from "node:crypto";
import type { Run } from "../../src/diffusion/model.ts";
import type { Network } from "../../src/models/network.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";

type Tensors = Readonly<Record<string, Tensor>>;

/** Outputs of networks by what went in, within a bound; those that were asked for longest ago go first. */
export class Memo {
  readonly #bound: number;
  /** In order of last use, the oldest first. */
  readonly #outputs = new Map<string, Record<string, Tensor>>();
  readonly #networks = new WeakMap<Network, number>();
  #count = 0;
  #bytes = 0;

  /** @param bound bytes of outputs */
  constructor(bound: number) {
    this.#bound = bound;
  }

  /** A network's run that is not carried out for feeds it has had; nobody may write into the outputs. */
  memoize(network: Network, run: Run): Run {
    return async (feeds) => {
      const key = this.#key(network, feeds);
      const outputs = this.#outputs.get(key) ?? (await run(feeds));
      this.#keep(key, outputs);
      return outputs;
    };
  }

  #key(network: Network, feeds: Tensors): string {
    let id = this.#networks.get(network);
    if (id === undefined) {
      id = this.#count++;
      this.#networks.set(network, id);
    }
    const hash = createHash("sha256");
    for (const [name, { dims, data }] of Object.entries(feeds)) {
      hash.update(`${name} ${dims} `).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    return `${id} ${hash.digest("base64")}`;
  }

  #keep(key: string, outputs: Record<string, Tensor>): void {
    this.#drop(key);
    this.#outputs.set(key, outputs);
    this.#bytes += bytesOf(outputs);
    for (const oldest of this.#outputs.keys()) {
      if (this.#bytes <= this.#bound) {
        return;
      }
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const outputs = this.#outputs.get(key);
    if (outputs !== undefined) {
      this.#outputs.delete(key);
      this.#bytes -= bytesOf(outputs);
    }
  }
}

const bytesOf = (outputs: Tensors) => Object.values(outputs).reduce((sum, { data }) => sum + data.byteLength, 0);
