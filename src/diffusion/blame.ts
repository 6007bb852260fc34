/** Whose fault it is that an evaluation gave values that are not finite: looked for only then. */
import type { UnetConfig } from "../models/config.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { addResiduals, type Control, noResiduals, type Residuals, type StepInputs } from "./control.ts";
import { allFinite, NotFinite } from "./finite.ts";

/** What the U-Net was told of an evaluation by its ControlNets. */
interface Controlled {
  readonly controls: readonly Control[];
  /** For each of them, which of its hints it was shown. */
  readonly open: readonly (readonly number[])[];
  readonly residuals: Residuals;
  readonly inputs: StepInputs;
}

/** The first ControlNet that gives such values alone; where none does, all of them together. */
async function culprit(unet: UnetConfig, { controls, open, inputs }: Controlled): Promise<string> {
  const none = noResiduals(unet);
  for (const [i, control] of controls.entries()) {
    if (open[i]!.length === 0) continue;
    const own = await addResiduals(none, control, open[i]!, inputs);
    if (!Object.values(own).every(allFinite)) return `the ControlNet "${control.id}"`;
  }
  return `the sum of the ControlNets ${controls.map(({ id }) => `"${id}"`).join(", ")}`;
}

/**
 * @param name what the U-Net is called, with what a request adds to it
 * @param look at what it was told, which takes a run of the ControlNets where they are one network with the U-Net
 * @param when of the evaluation, as " at step 2 of 4"
 * @throws {NotFinite}
 */
export async function checkStep(
  { name, unet }: { readonly name: string; readonly unet: UnetConfig },
  out: Tensor,
  look: () => Promise<Controlled>,
  when: string,
): Promise<void> {
  if (allFinite(out)) return;
  const controlled = await look();
  const isOfControl = !Object.values(controlled.residuals).every(allFinite);
  throw new NotFinite(isOfControl ? await culprit(unet, controlled) : name, when);
}
