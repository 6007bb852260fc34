/** T2I-Adapters of a request: their features, computed once, as inputs of the U-Net at the steps in which they act. */
import type { UnetConfig } from "../../models/config.ts";
import type { T2iAdapter } from "../../models/t2i-adapter.ts";
import { featureInputs } from "../../models/unet.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import { checkFinite } from "../finite.ts";
import type { Run } from "../model.ts";
import { fill } from "../rows.ts";

export interface ChosenT2iAdapter {
  readonly id: string;
  readonly adapter: T2iAdapter;
  readonly run: Run;
  readonly conditioning_scale: number;
  readonly conditioning_factor: number;
  /** unshuffled [1, C·f², H/f, W/f]. */
  readonly image: () => Promise<Tensor>;
}

/** The features of one adapter, times its scale; they act before evaluation `steps`. */
interface Acting {
  readonly steps: number;
  readonly features: readonly Tensor[];
}

/** feature_0 … of every evaluation: zeros of [1, C, 1, 1], which broadcast, where none acts. */
export type FeaturesAt = (step: number) => Readonly<Record<string, Tensor>>;

export function noFeatures(config: UnetConfig): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    featureInputs(config).map(({ shape }, i) => [`feature_${i}`, fill([1, shape[1] as number, 1, 1], 0)]),
  );
}

function sum(acting: readonly Acting[], none: Readonly<Record<string, Tensor>>): Readonly<Record<string, Tensor>> {
  if (acting.length === 0) return none;
  return Object.fromEntries(
    Object.keys(none).map((name, i) => {
      const [first, ...others] = acting.map(({ features }) => features[i]!);
      const data = (first!.data as Float32Array).map((value, at) =>
        others.reduce((total, other) => total + Number(other.data[at]), value),
      );
      return [name, { dims: first!.dims, data }];
    }),
  );
}

/** @param total evaluations of a request: an adapter acts in the first int(total · conditioning_factor) of them */
export async function prepareFeatures(
  config: UnetConfig,
  chosen: readonly ChosenT2iAdapter[],
  total: number,
): Promise<FeaturesAt> {
  const none = noFeatures(config);
  const all: Acting[] = [];
  for (const { id, run, image, conditioning_scale: scale, conditioning_factor } of chosen) {
    const steps = Math.trunc(total * conditioning_factor);
    if (scale === 0 || steps === 0) continue;
    const outputs = await run({ unshuffled: await image() });
    checkFinite(`the T2I-Adapter "${id}"`, Object.values(outputs));
    const features = Object.keys(none).map((name) => {
      const { dims, data } = outputs[name]!;
      return { dims, data: (data as Float32Array).map((value) => value * scale) };
    });
    all.push({ steps, features });
  }
  const sums = new Map<number, Readonly<Record<string, Tensor>>>();
  return (step) => {
    const acting = all.filter(({ steps }) => step < steps);
    const known = sums.get(acting.length) ?? sum(acting, none);
    sums.set(acting.length, known);
    return known;
  };
}
