/** The routes of the ControlNet extension. */
import type { FastifyInstance } from "fastify";
import { closed } from "../../../schema/closed.ts";
import { MAX_CONTROLS } from "../../../schema/fields.ts";
import type { Service } from "../../parts.ts";
import { notOffered } from "../at-once.ts";
import { MODULES } from "./modules.ts";

/** The version of the extension's API that is spoken. */
const VERSION = 3;

const schema = { hide: true, querystring: closed({}) } as const;

export function controlnet(app: FastifyInstance, { fleet }: Service): void {
  app.get("/controlnet/version", { schema }, async () => ({ version: VERSION }));
  app.get("/controlnet/settings", { schema }, async () => ({ control_net_unit_count: MAX_CONTROLS }));
  app.get("/controlnet/model_list", { schema: { hide: true } }, async () => {
    const { controlnets } = await fleet.catalog();
    return { model_list: controlnets.map(({ id }) => id) };
  });
  app.get("/controlnet/module_list", { schema: { hide: true } }, async () => ({
    module_list: MODULES,
    module_detail: Object.fromEntries(MODULES.map((name) => [name, { model_free: false, sliders: [] }])),
  }));
  app.get("/controlnet/control_types", { schema }, async () => {
    const { controlnets } = await fleet.catalog();
    const all = {
      module_list: MODULES,
      model_list: ["None", ...controlnets.map(({ id }) => id)],
      default_option: "none",
      default_model: "None",
    };
    return { control_types: { All: all } };
  });
  for (const name of ["detect", "render_openpose_json"]) {
    app.post(`/controlnet/${name}`, { schema }, async () => {
      throw notOffered(`/controlnet/${name}`, "there are no modules here yet");
    });
  }
}
