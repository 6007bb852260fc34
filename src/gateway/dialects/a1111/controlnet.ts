/** The routes of the ControlNet extension. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { AnnotationInput } from "../../../schema/annotation-request.ts";
import { closed } from "../../../schema/closed.ts";
import { MAX_CONTROLS } from "../../../schema/fields.ts";
import { PoseJson } from "../../../schema/pose.ts";
import { findMap } from "../../annotate.ts";
import { ownerOf } from "../../auth.ts";
import { takePlace } from "../../event-stream.ts";
import type { Service } from "../../parts.ts";
import { annotateAtOnce } from "../at-once.ts";
import { detailOf, fieldErrors } from "../issues.ts";
import { asSource } from "./image-source.ts";
import { annotatorOf, controlTypes, moduleList } from "./modules.ts";
import { refuseA1111 } from "./refuse.ts";

/** The version of the extension's API that is spoken. */
const VERSION = 3;
/** The most pictures of one request. */
const MOST = 8;

const hidden = { hide: true } as const;
const noQuery = { ...hidden, querystring: closed({}) };
const Flag = z.enum(["true", "false", "True", "False", "1", "0"]).transform((text) => /^(true|1)$/i.test(text));
const images = z.array(z.string()).max(MOST).nullish();

const DetectBody = closed({
  controlnet_module: z.string().nullish(),
  controlnet_input_images: images,
  controlnet_images: images, // as a client of it in Python has it
  controlnet_processor_res: z.number().nullish(),
  controlnet_threshold_a: z.number().nullish(),
  controlnet_threshold_b: z.number().nullish(),
  controlnet_masks: images,
  low_vram: z.unknown().optional(), // how memory is used is not the client's to say here
});

export function controlnetRoutes(instance: FastifyInstance, service: Service, closing: AbortSignal): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const { fleet } = service;
  app.get("/controlnet/version", { schema: noQuery }, async () => ({ version: VERSION }));
  app.get("/controlnet/settings", { schema: noQuery }, async () => ({ control_net_unit_count: MAX_CONTROLS }));
  const updated = { ...hidden, querystring: closed({ update: Flag.optional() }) }; // it is always the latest
  app.get("/controlnet/model_list", { schema: updated }, async () => {
    const { controlnets } = await fleet.catalog();
    return { model_list: controlnets.map(({ id }) => id) };
  });
  const named = { ...hidden, querystring: closed({ alias_names: Flag.optional() }) };
  app.get("/controlnet/module_list", { schema: named }, async ({ query }) =>
    moduleList(await fleet.catalog(), query.alias_names ?? false),
  );
  app.get("/controlnet/control_types", { schema: noQuery }, async () => controlTypes(await fleet.catalog()));
  app.post("/controlnet/detect", { schema: { ...noQuery, body: DetectBody } }, (request, reply) =>
    detect(service, request, reply, request.body, closing),
  );
  const poses = z.array(PoseJson).max(MOST);
  app.post("/controlnet/render_openpose_json", { schema: { ...noQuery, body: poses } }, async (request, reply) => {
    if (request.body.length === 0) return reply.send({ info: "No pose data detected." });
    const inputs = request.body.map((pose) => ({ annotator: "openpose_render", pose }));
    return reply.send({ images: (await mapsOf(service, request, reply, inputs, closing)).images, info: "Success" });
  });
}

async function detect(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  body: z.infer<typeof DetectBody>,
  closing: AbortSignal,
) {
  const module = body.controlnet_module ?? "none";
  const annotator = annotatorOf(
    {
      module,
      processor_res: body.controlnet_processor_res,
      threshold_a: body.controlnet_threshold_a,
      threshold_b: body.controlnet_threshold_b,
    },
    "controlnet_module",
  ) ?? { name: "none", params: {} };
  const pictures = body.controlnet_input_images ?? body.controlnet_images ?? [];
  const masks = body.controlnet_masks ?? [];
  if (pictures.length === 0) throw refuseA1111("controlnet_input_images", "No image selected");
  if (masks.length > 0 && masks.length !== pictures.length) {
    throw refuseA1111("controlnet_masks", `has ${masks.length} masks for ${pictures.length} images`);
  }
  const inputs = pictures.map((picture, i) => ({
    annotator,
    image: asSource(picture),
    ...(masks[i] !== undefined && { mask_image: asSource(masks[i]) }),
  }));
  const { images, poses } = await mapsOf(service, request, reply, inputs, closing);
  return { info: "Success", images, ...(module.includes("openpose") && { poses }) };
}

/** The maps, and the poses that were found, of as many inputs of `POST /v1/annotations`. */
async function mapsOf(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  inputs: readonly object[],
  closing: AbortSignal,
) {
  const checked = inputs.map((input) => {
    const { data, error } = AnnotationInput.safeParse(input);
    if (error !== undefined) throw refuseA1111("controlnet_module", detailOf(fieldErrors(error)));
    return data;
  });
  takePlace(service, ownerOf(request), reply);
  const records = await Promise.all(checked.map((input) => annotateAtOnce(service, request, reply, input, closing)));
  const images: string[] = [];
  for (const { id } of records) {
    const { read } = await findMap(service, ownerOf(request), id, "0");
    images.push((await read()).toString("base64"));
  }
  return { images, poses: records.map(({ pose }) => pose) };
}
