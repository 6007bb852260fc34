/** Annotations without HTTP: accept one, wait for its end, read its map. */
import { Refused } from "../errors.ts";
import { type AnnotationRecord, annotation } from "../jobs/annotation.ts";
import { AnnotationInput, type AnnotationRequest } from "../schema/annotation-request.ts";
import { ALL_ANNOTATORS, type AnnotatorChoice, chooseAnnotator } from "../schema/annotator-choice.ts";
import { imagesOf, mapImages } from "../schema/images.ts";
import { withoutNulls } from "../schema/nulls.ts";
import { outputKey } from "../storage/keys.ts";
import { accept, checkWebhook, findJob, type Submitter } from "./accept.ts";
import { checkNetwork } from "./annotator-network.ts";
import { checkSize } from "./annotator-size.ts";
import type { Service } from "./parts.ts";
import type { FoundPicture } from "./picture.ts";
import { storeImages } from "./store-images.ts";

/** Accepts an annotation, or finds the one that the idempotency key has made. @throws {Refused} */
export function acceptAnnotation(service: Service, input: AnnotationInput, by: Submitter): Promise<AnnotationRecord> {
  const { config, fleet, imagesIn } = service;
  return accept(service, annotation, by, async () => {
    await checkWebhook(input.webhook, service);
    const { annotator: chosen, params, ...rest } = input;
    const annotator = params === null ? chosen : withParameters(chosen, params);
    const beside = (params?.network ?? null) !== null;
    checkNetwork(annotator, await fleet.catalog(), "annotator", beside ? "params" : "annotator.params");
    const images = await imagesIn.take(imagesOf(AnnotationInput, input), by.owner);
    for (const [path, image] of images) checkSize(image, annotator, config.MAX_PIXELS, path);
    const hashed = mapImages(AnnotationInput, { ...rest, annotator }, (_source, path) => images.get(path)!.hash);
    const { params: _, ...request } = hashed as AnnotationRequest & { params: unknown };
    const files = new Map([...images.values()].map(({ hash, bytes }) => [hash, bytes]));
    return {
      request,
      store: files.size > 0 ? (id, keeping) => storeImages(service.storage, id, files, keeping) : null,
      images: [...files.keys()],
      bytes: images.values().reduce((sum, { bytes }) => sum + bytes.length, 0),
      about: { annotator: annotator.name },
    };
  });
}

/** The annotator with parameters that stand beside it; one that is null is as absent. */
function withParameters({ name, params }: AnnotatorChoice, more: Record<string, unknown>): AnnotatorChoice {
  return chooseAnnotator(name, { ...params, ...(withoutNulls(ALL_ANNOTATORS[name]!.params, more) as object) });
}

/** The annotation when it has ended, or as it stands when `signal` aborts. */
export function waitForAnnotation({ queue }: Service, known: AnnotationRecord, owner: string, signal: AbortSignal) {
  return queue.readWhenEnded(annotation, known, owner, signal);
}

/** The map of an annotation. @throws {Refused} 404 when there is none of that number */
export async function findMap(service: Service, owner: string, id: string, n: string): Promise<FoundPicture> {
  const record = await findJob(service, annotation, owner, id);
  const image = /^\d{1,2}$/.test(n) ? record.images[Number(n)] : undefined;
  if (image === undefined) {
    throw new Refused(
      404,
      "not_found",
      `the annotation "${id}" is ${record.status} and has ${record.images.length} maps`,
    );
  }
  const read = async () => {
    const bytes = await service.storage.find(outputKey(id, image.sha256));
    if (bytes === undefined) throw new Refused(404, "not_found", `there is no annotation "${id}" any more`);
    return bytes;
  };
  return { image, read };
}
