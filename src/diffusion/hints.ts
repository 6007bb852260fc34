/** The control images of a request, once: through the hint encoders, those of one ControlNet-Union together. */
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import { type Control, type ControlRequest, type Group, runsAt, settleControl } from "./control.ts";
import { checkFinite } from "./finite.ts";
import type { LoadedControlNet } from "./model.ts";
import { fill } from "./rows.ts";

/** The control images of a request as tensors. */
export interface ControlImages {
  /** For each of request.controls one hint for all pictures, or one for each: [1, 3, H, W] in 0 … 1, read when it is its turn. */
  readonly hints: readonly (readonly (() => Promise<Tensor>)[])[];
  /** For each of request.controls the region it acts on, [1, 1, H, W] in 0 … 1; null = the whole picture. */
  readonly masks: readonly (Tensor | null)[];
}

/**
 * A request's controls, those of one Union together. Several hints of a Union have their scales in the hint encoder, and at scale 0
 * count by their type alone; one has it on the residuals (diffusers' ControlNetUnionModel.forward).
 */
function groupControls(controls: readonly ControlRequest[], controlnets: readonly LoadedControlNet[]): Group[] {
  return controls.flatMap((control, i): Group[] => {
    const controlnet = controlnets[i]!;
    const { union } = controlnet.config;
    if (union === undefined) {
      return [{ control, controlnet, windows: [control], control_type: null, hints: [{ index: i, told: {} }] }];
    }
    const own = controls.flatMap((one, index) => (one.controlnet === control.controlnet ? [{ ...one, index }] : []));
    if (own[0]!.index !== i) return []; // it is in the group of the first
    const types = own.map(({ control_type: type }) => type!);
    const several = own.length > 1;
    const counting = own.filter(({ conditioning_scale: scale }) => scale !== 0);
    return [
      {
        control: several ? { ...control, conditioning_scale: 1 } : control,
        controlnet,
        windows: counting,
        control_type: {
          dims: [1, union.types],
          data: Float32Array.from({ length: union.types }, (_, type) => (types.includes(type) ? 1 : 0)),
        },
        hints: counting.map(({ index, control_type, conditioning_scale }) => ({
          index,
          told: {
            type: { dims: [1], data: BigInt64Array.of(BigInt(control_type!)) },
            factor: fill([1], several ? conditioning_scale : 1),
          },
        })),
      },
    ];
  });
}

/** Each control image through its ControlNet's hint encoder → the ControlNets of every picture, but those that never run. */
export async function prepareControls(
  request: GenerationRequest,
  controlnets: readonly LoadedControlNet[],
  { hints, masks }: ControlImages,
  { height, total }: { height: number; total: number },
): Promise<Control[][]> {
  const controls: Control[][] = Array.from({ length: request.num_images }, () => []);
  for (const group of groupControls(request.controls, controlnets)) {
    const settled = settleControl(group, request, { mask: masks[group.hints[0]?.index ?? 0]!, height });
    if (!Array.from({ length: total }).some((_, step) => runsAt(settled, step, total))) {
      continue;
    }
    const embeddings: Tensor[][] = [];
    // One at a time: together, the hints of a request may take gigabytes.
    for (const { index, told } of group.hints) {
      const own: Tensor[] = [];
      for (const read of hints[index]!) {
        own.push((await settled.controlnet.run.hint({ hint: await read(), ...told })).hint_embedding!);
        checkFinite(`the hint encoder of the ControlNet "${group.control.controlnet}"`, own.slice(-1));
      }
      embeddings.push(own);
    }
    for (const [picture, list] of controls.entries()) {
      list.push({ ...settled, hint_embeddings: embeddings.map((own) => own[own.length === 1 ? 0 : picture]!) });
    }
  }
  return controls;
}
