/** Accepting trainings, without HTTP. */
import type { SafetyMode } from "../config/api-keys.ts";
import { Refused } from "../errors.ts";
import { type TrainingRecord, training } from "../jobs/training.ts";
import type { Catalog } from "../schema/catalog.ts";
import { imagesOf, mapImages } from "../schema/images.ts";
import { TrainingInput, type TrainingRequest, tooManyPixels } from "../schema/training-request.ts";
import { datasetKey } from "../storage/keys.ts";
import { NotKept } from "../storage/storage.ts";
import { DatasetError, datasetFolder } from "../training/dataset.ts";
import { accept, checkWebhook, type Prepared, type Submitter } from "./accept.ts";
import type { Service } from "./parts.ts";
import { refuseUnchecked } from "./safety.ts";
import { storeImages } from "./store-images.ts";
import { names, refuseUnavailable, suggestion, unprocessable } from "./unprocessable.ts";

/** Accepts a training, or finds the one that the idempotency key has made. @throws {Refused} */
export function acceptTraining(
  service: Service,
  input: TrainingInput,
  by: Submitter & { safety: SafetyMode },
): Promise<TrainingRecord> {
  const { config, fleet, imagesIn, storage } = service;
  return accept(service, training, by, async () => {
    await checkWebhook(input.webhook, service);
    refuseUnchecked(input.validation.length > 0, by.safety);
    checkModels(input, await fleet.catalog());
    const pixels = tooManyPixels(input, config.MAX_PIXELS);
    if (pixels !== null) throw unprocessable("too_many_pixels", pixels.path, pixels.message);
    const archive = await archiveOf(service, input.dataset, by.owner);
    const images = await imagesIn.take(imagesOf(TrainingInput, input), by.owner);
    const request = mapImages(TrainingInput, input, (_source, path) => images.get(path)!.hash) as TrainingRequest;
    const files = new Map([...images.values()].map(({ hash, bytes }) => [hash, bytes]));
    const store: Prepared["store"] = async (id, keeping) => {
      if (archive !== null) {
        await storage.copy(archive.key, datasetKey(id)).catch((error) => {
          throw error instanceof NotKept ? noArchive(input.dataset) : error; // expired while the images came
        });
      }
      await storeImages(storage, id, files, keeping);
    };
    const ofImages = images.values().reduce((sum, { bytes }) => sum + bytes.length, 0);
    return {
      request,
      store,
      images: [...files.keys()],
      bytes: ofImages + (archive?.bytes ?? 0),
      dataset: archive?.bytes ?? 0,
      about: { base: request.base, name: request.name },
    };
  });
}

/** Where the archive of a dataset lies, and its bytes; null = it is a folder of the worker's. @throws {Refused} */
async function archiveOf({ config, uploads }: Service, dataset: string, owner: string) {
  if (!dataset.startsWith("upload:")) {
    checkFolder(dataset.slice("folder:".length), config.DATASETS_DIR);
    return null;
  }
  const id = dataset.slice("upload:".length);
  const [key, facts] = await Promise.all([uploads.archive(owner, id), uploads.describe(owner, id)]);
  if (key === undefined || facts === undefined) throw noArchive(dataset);
  return { key, bytes: facts.bytes };
}

const noArchive = (dataset: string): Refused =>
  unprocessable("unknown_upload", "dataset", `there is no archive "${dataset.slice("upload:".length)}", or no more`);

/** @throws {Refused} when there is no such dataset; where the gateway has no DATASETS_DIR, the trainer finds out */
function checkFolder(name: string, DATASETS_DIR: string | undefined): void {
  try {
    if (DATASETS_DIR !== undefined) datasetFolder(DATASETS_DIR, name);
  } catch (error) {
    if (error instanceof DatasetError) throw unprocessable("unknown_dataset", "dataset", error.message);
    throw error;
  }
}

/** @throws {Refused} when the base cannot be trained for, not so, or the name belongs to a ControlNet that there is */
function checkModels({ base, name, resolution }: TrainingInput, catalog: Catalog): void {
  const { models, controlnets } = catalog;
  const model = models.find(({ id }) => id === base);
  if (model === undefined) {
    refuseUnavailable("models", base, catalog, "base");
    throw unprocessable("unknown_model", "base", `there is no model "${base}"${suggestion(base, models)}`);
  }
  if (!model.trainable) {
    const able = names(models.filter(({ trainable }) => trainable));
    const message = `no ControlNet can be trained for "${base}" here: it takes a folder of Stable Diffusion 1.x, 2.x or SDXL that is neither for inpainting or edits nor of EDM's noise, in a MODELS_DIR of your own; there are: ${able}`;
    throw unprocessable("model_not_trainable", "base", message);
  }
  const multiple = model.resolution_multiple;
  if (resolution % multiple !== 0) {
    const message = `${resolution} does not fit the model "${base}": it must be a multiple of ${multiple}`;
    throw unprocessable("field_does_not_fit", "resolution", message);
  }
  if (controlnets.some(({ id }) => id === name)) {
    const message = `there is a ControlNet "${name}" already`;
    throw new Refused(409, "name_taken", message, [{ path: "name", message }]);
  }
}
