/** `txt2img` and `img2img`: a generation, waited for, as the web UI answers. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { withText } from "../../../image/png-text.ts";
import type { GenerationRecord } from "../../../jobs/generation.ts";
import { inputBytes } from "../../../jobs/inputs.ts";
import { ownerOf } from "../../auth.ts";
import { takePlace } from "../../event-stream.ts";
import { findControlMap } from "../../generate.ts";
import type { Service } from "../../parts.ts";
import { acceptOf, filesOf, waitForPictures } from "../at-once.ts";
import type { Body, ImageBody } from "./body.ts";
import { infoOf } from "./infotext.ts";
import { readOptions } from "./options.ts";
import { translate } from "./translate.ts";

/** A text longer than this is an image: it is not sent back. */
const LONGEST_ECHO = 20_000;

/** What was sent, without its images. */
const echoed = (body: object): unknown =>
  JSON.parse(
    JSON.stringify(body, (key, value) =>
      typeof value === "string" && (value.length > LONGEST_ECHO || /^(image|input_image|mask|mask_image)$/.test(key))
        ? null
        : value,
    ),
  );

export async function make(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  body: Body & Partial<ImageBody>,
  closing: AbortSignal,
) {
  const owner = ownerOf(request);
  const catalog = await service.fleet.catalog();
  const options = await service.queue.ask((redis) => readOptions(redis, owner, catalog));
  const inverted = async (mask: string) => {
    const { bytes } = (await service.imagesIn.take(new Map([["mask", mask]]), owner)).get("mask")!;
    const negative = await service.imagesIn.make("invertedMask", bytes, "mask", owner);
    return `data:image/png;base64,${negative!.toString("base64")}`;
  };
  const { input, showsMap } = await translate(body, options, catalog, inverted);
  takePlace(service, owner, reply);
  const accepted = await acceptOf(service, "a1111", request, input);
  const record = await waitForPictures(service, request, reply, accepted, closing);
  const info = infoOf(record);
  const { init_images, mask, ...rest } = body;
  const images = body.send_images === false ? [] : await imagesOf(service, owner, record, info.infotexts, showsMap);
  return {
    images,
    parameters: {
      ...(echoed(rest) as object),
      ...(body.include_init_images && { init_images, mask }),
    },
    info: JSON.stringify(info),
  };
}

/** A control image: the one that an annotator has made, else the one that was sent. */
async function mapOf(
  service: Service,
  owner: string,
  { id, request }: GenerationRecord,
  { n, image }: { n: string; image: string | string[] | null },
): Promise<Buffer> {
  const { annotator, pose } = request.controls[Number(n)]!;
  if (annotator !== null || pose !== null) {
    const { read } = await findControlMap(service, owner, { id, n, picture: undefined });
    return read();
  }
  return inputBytes(service.storage, id, [image].flat()[0]!);
}

/** Base64 of the pictures, each with what it was made of in it, and of the maps behind them. */
async function imagesOf(
  service: Service,
  owner: string,
  record: GenerationRecord,
  infotexts: readonly string[],
  showsMap: readonly boolean[],
): Promise<string[]> {
  const pictures = await filesOf(service, owner, record);
  const marked = pictures.map(({ bytes }, i) => withText(bytes, "parameters", infotexts[i]!));
  const maps: Buffer[] = [];
  for (const [i, { annotator, image }] of record.request.controls.entries()) {
    const hasMap = annotator?.name !== "inpaint"; // that of inpaint has values that no picture has
    if (showsMap[i] && hasMap) maps.push(await mapOf(service, owner, record, { n: String(i), image }));
  }
  return [...marked, ...maps].map((bytes) => bytes.toString("base64"));
}
