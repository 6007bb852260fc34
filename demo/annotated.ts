/** Control maps as a newcomer gets them: made of a picture of the demo's world, by an annotator for each condition. */
import { join } from "node:path";
import { loadFolder, networkMaps, people } from "../src/annotators/annotate.ts";
import { openAnnotatorFolder } from "../src/annotators/folder.ts";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { annotate } from "../src/image/annotators.ts";
import { fitMap } from "../src/image/map-fit.ts";
import { asAsked, atDetection } from "../src/image/map-size.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { chooseAnnotator, isNetworkChoice } from "../src/schema/annotator-choice.ts";
import { CPU, openSession, type Session } from "../workers/runtime/runtime.ts";
import { SIDE } from "./world/landscape.ts";
import type { Condition } from "./world/maps.ts";

/** Skeletons are drawn at this size and then made smaller: as thin as those that the ControlNet was trained with. */
const POSE_SIDE = 320;

/** For each condition the annotator, and the folder of its network where it has one. */
export const ANNOTATORS = {
  canny: { name: "canny" },
  hough_lines: { name: "hough_lines", params: { threshold: 12, min_line_length: 8, max_line_gap: 3 } },
  scribble: { name: "scribble_xdog", params: { threshold: 24 } },
  lineart: { name: "lineart_standard", params: { gaussian_sigma: 2, intensity_threshold: 3 } },
  pose: { name: "openpose", params: { resolution: POSE_SIDE }, folder: "demo-points" },
  segmentation: { name: "segmentation", folder: "demo-classes" },
  normal: { name: "normal_metric3d", folder: "demo-surfaces" },
  depth: { name: "depth", folder: "demo-surfaces" },
} satisfies Record<Condition, { name: string; params?: object; folder?: string }>;

/** Its networks stay loaded until it is closed. */
export function openAnnotated() {
  const sessions = new Map<string, Promise<Session>>();

  function load(folder: string) {
    const opened = openAnnotatorFolder(join(DEMO_MODELS_DIR, "annotators", folder));
    return loadFolder(opened, (part) => async (feeds) => {
      const session = sessions.get(folder) ?? openSession(opened.networks[part]!.graph(), CPU);
      sessions.set(folder, session);
      return (await session).run(feeds);
    });
  }

  return {
    /** SIDE × SIDE, as the ControlNet is shown it. */
    async map(condition: Condition, picture: Pixels): Promise<Pixels> {
      const { name, params, folder }: { name: string; params?: object; folder?: string } = ANNOTATORS[condition];
      const choice = chooseAnnotator(name, params);
      if (!isNetworkChoice(choice)) {
        return fitMap(annotate(choice.name as "canny", picture, choice.params as never), SIDE, SIDE);
      }
      const shown = atDetection(picture, choice.params);
      const { map } = await networkMaps[choice.name](shown, load(folder!), choice.params as never);
      return fitMap(asAsked(map, picture, choice.params), SIDE, SIDE);
    },

    /** The people in a picture, in its pixels. */
    people: (picture: Pixels) => people(picture, load(ANNOTATORS.pose.folder)),

    async close(): Promise<void> {
      for (const session of sessions.values()) await (await session).release();
    },
  };
}
