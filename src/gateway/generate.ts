/** Generations without HTTP: accept one, wait for its end, read a picture. */
import { Refused } from "../errors.ts";
import { type GenerationRecord, generation } from "../jobs/generation.ts";
import type { ImageRecord } from "../schema/generation.ts";
import type { GenerationInput } from "../schema/generation-request.ts";
import { inputKey, outputKey } from "../storage/keys.ts";
import { accept, checkWebhook, findJob, type Submitter } from "./accept.ts";
import type { Service } from "./parts.ts";
import { resolve } from "./resolve.ts";

/** Accepts a generation, or finds the one that the idempotency key has made. @throws {Refused} */
export function acceptGeneration(service: Service, input: GenerationInput, by: Submitter): Promise<GenerationRecord> {
  const { config, fleet, imagesIn, storage } = service;
  return accept(service, generation, by, async () => {
    await checkWebhook(input.webhook, service);
    const { request, images } = await resolve(input, await fleet.catalog(), config, imagesIn, by.owner);
    const store = async (id: string) => {
      for (const [hash, bytes] of images) await storage.put(inputKey(id, hash), bytes);
    };
    return {
      request,
      store: images.size > 0 ? store : null,
      images: [...images.keys()],
      about: { model: request.model },
    };
  });
}

/** The generation when it has ended, or as it stands when `signal` aborts. */
export function waitForGeneration({ queue }: Service, known: GenerationRecord, owner: string, signal: AbortSignal) {
  return queue.readWhenEnded(generation, known, owner, signal);
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
