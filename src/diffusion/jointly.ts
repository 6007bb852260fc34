/** ControlNets and U-Net in one run, where the model has them as one network and a request leaves nothing out between its evaluations. */
import { jointName } from "../models/joint.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import { type Control, controlFeeds, openHints, runsAt, type StepInputs } from "./control.ts";
import type { LoadedModel, Run } from "./model.ts";
import { isFresh } from "./reuse.ts";

/** Null where each is to run by itself: the U-Net alone would then be loaded beside. @param total evaluations */
export function jointRun(
  asked: Pick<GenerationRequest, "cache" | "control_interval">,
  { run }: LoadedModel,
  controls: readonly Control[],
  total: number,
): Run | null {
  if (controls.length === 0) return null;
  const isAll = (step: number) => isFresh(asked, step) && controls.every((control) => runsAt(control, step, total));
  const isAlways = Array.from({ length: total }).every((_, step) => isAll(step));
  return isAlways ? run.joint(controls.map(({ controlnet }) => controlnet)) : null;
}

/** What the joint network is told beside the U-Net's inputs. */
export function jointFeeds(controls: readonly Control[], inputs: StepInputs, step: number, total: number): StepInputs {
  const each = controls.flatMap((control, i) =>
    Object.entries(controlFeeds(control, openHints(control, step, total), inputs)).map(
      ([name, tensor]) => [jointName(i, name), tensor] as const,
    ),
  );
  return Object.fromEntries(each);
}
