/**
 * A U-Net and the ControlNets before it as one network, so that on an accelerator the residuals (27 MB of each ControlNet at 512²
 * with guidance) stay where they are made: each ControlNet adds its own to the sum of those before it, and the U-Net reads the last.
 */
import { join, relative } from "node:path";
import { build, type Computation } from "../onnx/build.ts";
import type { Value } from "../onnx/value.ts";
import { within } from "../onnx/within.ts";
import { commonFolder } from "./common-folder.ts";
import type { GraphChoices } from "./graph.ts";
import type { Network } from "./network.ts";

/** What a ControlNet's own inputs are called: its place in the chain, then its name (controlnet.ts). Those of the U-Net keep theirs. */
export const jointName = (place: number, name: string): string => `control_${place}:${name}`;

const OUT = "_out";

function chain(unet: Network, controlnets: readonly Network[], folder: string, choices?: GraphChoices): Computation {
  const from = (one: Network) => (location: string) => relative(folder, join(one.folder, location));
  const inputs: Value[] = [];
  let sums: Readonly<Record<string, Value>> = {};
  for (const [i, one] of controlnets.entries()) {
    const computation = one.computation(choices);
    const residuals = Object.keys(computation.outputs).map((name) => name.slice(0, -OUT.length));
    const rename = (name: string) => (residuals.includes(name) ? name : jointName(i, name));
    const part = within(computation, { given: sums, rename, place: from(one) });
    inputs.push(...part.inputs);
    sums = Object.fromEntries(residuals.map((name) => [name, part.outputs[`${name}${OUT}`]!]));
  }
  const whole = within(unet.computation(choices), { given: sums, rename: (name) => name, place: from(unet) });
  return { inputs: [...whole.inputs, ...inputs], outputs: whole.outputs };
}

const places = new WeakMap<Network, number>();
let count = 0;
function placeOf(one: Network): number {
  const place = places.get(one) ?? count++;
  places.set(one, place);
  return place;
}

const known = new WeakMap<Network, Map<string, Network>>();

/**
 * The U-Net with what its ControlNets give it computed before it; the same network each time for the same ones, so that it is loaded
 * once. Its inputs: the U-Net's, whose residuals are the sum before the first ControlNet, and jointName's. Takes grafts as the U-Net.
 * @param controlnets whole ones, in their order
 */
export function joint(unet: Network, controlnets: readonly Network[]): Network {
  const made = known.get(unet) ?? new Map<string, Network>();
  known.set(unet, made);
  const key = controlnets.map(placeOf).join();
  const folder = controlnets.reduce((shared, one) => commonFolder(shared, one.folder), unet.folder);
  const computation = (choices?: GraphChoices) => chain(unet, controlnets, folder, choices);
  const one = made.get(key) ?? {
    graph(choices) {
      const { inputs, outputs } = computation(choices);
      return { bytes: build(inputs, outputs), folder };
    },
    computation,
    folder,
    weightBytes: [unet, ...controlnets].reduce((sum, { weightBytes }) => sum + weightBytes, 0),
    reads: unet.reads,
  };
  made.set(key, one);
  return one;
}
