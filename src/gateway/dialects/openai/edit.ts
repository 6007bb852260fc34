/** OpenAI's edits: a picture to begin with, and where to paint it anew. */
import { SIZE_MULTIPLE } from "../../../schema/fields.ts";
import { ImageSource } from "../../../schema/images.ts";
import type { Service } from "../../parts.ts";
import { chooseModel } from "../../resolve.ts";
import { type EditBody, type GenerateBody, invalid } from "./request.ts";

const asUri = (bytes: Uint8Array) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;

/**
 * An edit as what a generation takes: `mask_image` white where the mask (or without one the picture) is fully transparent, and
 * without a size the picture's proportions in as many pixels as the model makes by itself.
 * @throws {Refused}
 */
export async function asGeneration(service: Service, body: EditBody, owner: string): Promise<GenerateBody> {
  const { image, mask, mask_image: _, ...rest } = body;
  const sources = new Map([["image", sourceOf("image", image)]]);
  if (mask != null) sources.set("mask", sourceOf("mask", mask));
  const taken = await service.imagesIn.take(sources, owner);
  const bytes = taken.get("image")!.bytes;
  const holes = taken.get("mask")?.bytes ?? bytes;
  const painted = await service.imagesIn.make("maskOfAlpha", holes, "mask", owner);
  if (painted === null && mask != null) {
    throw invalid("mask", "has no fully transparent pixel: those are painted anew, so there is nothing to do");
  }
  const size = await service.imagesIn.check(bytes, owner);
  const model = chooseModel(rest, await service.fleet.catalog());
  const sized = (rest.size ?? "auto") !== "auto" || rest.width !== undefined || rest.height !== undefined;
  return {
    ...rest,
    image: asUri(bytes),
    mask_image: painted === null ? undefined : asUri(painted),
    ...(sized ? {} : sizeLike(size, model)),
  };
}

function sourceOf(field: string, given: string | string[]): string {
  const { data, error } = ImageSource.safeParse([given].flat()[0]);
  if (error !== undefined) throw invalid(field, error.issues[0]!.message);
  return data;
}

/** About as many pixels as the model's own size has, in the image's proportions. */
function sizeLike(image: { width: number; height: number }, model: { width: number; height: number }) {
  const scale = Math.sqrt((model.width * model.height) / (image.width * image.height));
  const side = (pixels: number) => Math.max(1, Math.round((pixels * scale) / SIZE_MULTIPLE)) * SIZE_MULTIPLE;
  return { width: side(image.width), height: side(image.height) };
}
