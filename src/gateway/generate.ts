/** Generations without HTTP: accept one, wait for its end, read a picture. */
import type { SafetyMode } from "../config/api-keys.ts";
import { Refused } from "../errors.ts";
import { type GenerationRecord, generation } from "../jobs/generation.ts";
import type { ImageRecord } from "../schema/generation.ts";
import type { GenerationInput } from "../schema/generation-request.ts";
import { outputKey } from "../storage/keys.ts";
import { accept, checkWebhook, findJob, type Submitter } from "./accept.ts";
import type { Service } from "./parts.ts";
import type { FoundPicture } from "./picture.ts";
import { resolve } from "./resolve.ts";
import { requireChecked } from "./safety.ts";
import { storeImages } from "./store-images.ts";

/** Accepts a generation, or finds the one that the idempotency key has made. @throws {Refused} */
export function acceptGeneration(
  service: Service,
  input: GenerationInput,
  by: Submitter & { safety: SafetyMode },
): Promise<GenerationRecord> {
  const { config, fleet, imagesIn } = service;
  return accept(service, generation, by, async () => {
    await checkWebhook(input.webhook, service);
    const catalog = await fleet.catalog();
    const { request, images } = await resolve(input, catalog, config, imagesIn, by.owner);
    requireChecked(catalog, request.model, by.safety);
    return {
      request,
      store: images.size > 0 ? (id, keeping) => storeImages(service.storage, id, images, keeping) : null,
      images: [...images.keys()],
      bytes: images.values().reduce((sum, { length }) => sum + length, 0),
      about: { model: request.model },
      safety: by.safety,
    };
  });
}

/** The generation when it has ended, or as it stands when `signal` aborts. */
export function waitForGeneration({ queue }: Service, known: GenerationRecord, owner: string, signal: AbortSignal) {
  return queue.readWhenEnded(generation, known, owner, signal);
}

/** A control image that an annotator made. @param picture which picture's, where each has its own; undefined = the first */
export async function findControlMap(
  service: Service,
  owner: string,
  { id, n, picture }: { id: string; n: string; picture: number | undefined },
): Promise<FoundPicture> {
  const record = await findJob(service, generation, owner, id);
  const own = record.controls.filter(({ control }) => String(control) === n);
  const map = picture === undefined ? own[0] : own.find((one) => (one.picture ?? picture) === picture);
  if (map === undefined) {
    const message = `the generation "${id}" is ${record.status}, and has no control image of that number that an annotator made`;
    throw new Refused(404, "not_found", message);
  }
  const read = async () => {
    const bytes = await service.storage.find(outputKey(id, map.sha256));
    if (bytes === undefined) throw new Refused(404, "not_found", `there is no generation "${id}" any more`);
    return bytes;
  };
  return { image: map, read };
}

/** A picture's record, and how to read its bytes. @throws {Refused} 404 when there is none of that number */
export async function findPicture(
  service: Service,
  owner: string,
  id: string,
  n: string,
): Promise<{ image: ImageRecord; read: () => Promise<Buffer> }> {
  const record = await findJob(service, generation, owner, id);
  const image = /^\d+$/.test(n) ? record.images[Number(n)] : undefined;
  if (image === undefined) {
    const count = record.images.length;
    throw new Refused(404, "not_found", `the generation "${id}" is ${record.status} and has ${count} images`);
  }
  const read = async () => {
    const bytes = await service.storage.find(outputKey(id, image.sha256));
    if (bytes === undefined) throw new Refused(404, "not_found", `there is no generation "${id}" any more`);
    return bytes;
  };
  return { image, read };
}
