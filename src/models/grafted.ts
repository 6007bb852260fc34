import { type Graft, graft } from "../onnx/graft.ts";
import type { Network } from "./network.ts";

const known = new WeakMap<Network, Map<string, Network>>();

/**
 * A network with grafts, whose tensors it takes as further inputs: the same one each time for the same trunk and grafts, so
 * that it is loaded once for all adapters of a kind. The trunk itself where there are none.
 */
export function grafted(trunk: Network, grafts: readonly Graft[]): Network {
  if (grafts.length === 0) {
    return trunk;
  }
  const variants = known.get(trunk) ?? new Map<string, Network>();
  known.set(trunk, variants);
  const key = JSON.stringify(grafts);
  const variant = variants.get(key) ?? {
    graph(choices) {
      const { bytes, folder } = trunk.graph(choices);
      return { bytes: graft(bytes, grafts), folder };
    },
    computation: () => {
      throw new Error("a network with grafts is not computed anew");
    },
    folder: trunk.folder,
    weightBytes: trunk.weightBytes,
    reads: trunk.reads,
    grafted: { trunk, grafts },
  };
  variants.set(key, variant);
  return variant;
}
