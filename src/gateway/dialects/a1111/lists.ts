/** What the web UI lists: what there is here, and empty lists of what there is not. */
import type { Catalog } from "../../../schema/catalog.ts";
import { shortName } from "./names.ts";
import { samplers, schedulers } from "./samplers.ts";

/** A model as the web UI lists it; `name` is what an old client of it reads. */
const sdModel = ({ id }: { id: string }) => ({
  title: id,
  model_name: id,
  name: id,
  hash: null,
  sha256: null,
  filename: id,
  config: null,
});

const lora = ({ id }: { id: string }) => ({ name: id, alias: shortName(id), path: id, metadata: {} });

function embeddings({ embeddings: all }: Catalog) {
  const entry = ({ vectors }: { vectors: number }) => ({
    step: null,
    sd_checkpoint: null,
    sd_checkpoint_name: null,
    shape: null,
    vectors,
  });
  return { loaded: Object.fromEntries(all.map((one) => [shortName(one.id), entry(one)])), skipped: {} };
}

const none = () => [];

/** `GET /sdapi/v1/<name>`: what it lists. */
export const LISTS: Readonly<Record<string, (catalog: Catalog) => unknown>> = {
  "sd-models": ({ models }) => models.map(sdModel),
  samplers: () => samplers,
  schedulers: () => schedulers,
  loras: ({ loras }) => loras.map(lora),
  embeddings,
  "sd-vae": none, // each model has its own
  "sd-modules": none,
  upscalers: none,
  "latent-upscale-modes": none,
  hypernetworks: none,
  "face-restorers": none,
  "realesrgan-models": none,
  "prompt-styles": none,
  extensions: none,
  scripts: () => ({ txt2img: ["controlnet", "controlnet m2m"], img2img: ["controlnet", "controlnet m2m"] }), // clients look for both names
  "script-info": () =>
    [false, true].map((is_img2img) => ({ name: "controlnet", is_alwayson: true, is_img2img, args: [] })),
  memory: () => ({ ram: {}, cuda: {} }),
  "cmd-flags": () => ({ api: true, nowebui: true }),
};

/** `POST /sdapi/v1/<name>` that have nothing to do here: what MODELS_DIR holds is loaded as requests ask for it. */
export const NOTHING_TO_DO = [
  "refresh-checkpoints",
  "refresh-vae",
  "refresh-loras",
  "refresh-embeddings",
  "reload-checkpoint",
  "unload-checkpoint",
] as const;

/** `POST /sdapi/v1/<name>` that are not there, and why. */
export const NOT_THERE: Readonly<Record<string, string>> = {
  skip: "the pictures of a batch are made together; /sdapi/v1/interrupt ends all of them",
  "extra-single-image": "there are no upscalers and no face restorers",
  "extra-batch-images": "there are no upscalers and no face restorers",
  interrogate: "there is no network that describes pictures",
  "create/embedding": "ControlNets are trained here: POST /v1/trainings",
  "create/hypernetwork": "ControlNets are trained here: POST /v1/trainings",
  "train/embedding": "ControlNets are trained here: POST /v1/trainings",
  "train/hypernetwork": "ControlNets are trained here: POST /v1/trainings",
  "server-kill": "the service is not its clients' to stop",
  "server-restart": "the service is not its clients' to stop",
  "server-stop": "the service is not its clients' to stop",
};
