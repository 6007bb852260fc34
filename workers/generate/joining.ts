/** Whether a U-Net and its ControlNets are run as one network. */
import type { Join } from "../../src/diffusion/load.ts";
import { joint } from "../../src/models/joint.ts";
import type { Provider } from "../runtime/runtime.ts";

/**
 * On providers that gain by it, where there is room beside a U-Net alone: other requests need one, and neither would stay loaded.
 * @param budget bytes of weights that may be in memory
 */
export const joining =
  ({ joint: gains, half }: Provider, budget: number): Join =>
  (unet, controlnets) => {
    if (!gains) return null;
    const together = joint(unet, controlnets);
    return (unet.weightBytes + together.weightBytes) / (half ? 2 : 1) <= budget ? together : null;
  };
