/**
 * The most downloaded checkpoints and ControlNets by what public listings say of them: configs, names and shapes in full size, no
 * weights. Each is taken for what it is. Single files by their whole key lists are in single-file.test.ts.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, suite, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { clip } from "../../src/models/clip.ts";
import { clipConfig, controlnetConfig, parseConfig, unetConfig, vaeConfig } from "../../src/models/config.ts";
import { controlnet, hintEncoder } from "../../src/models/controlnet.ts";
import { unet } from "../../src/models/unet.ts";
import { vaeDecoder, vaeEncoder } from "../../src/models/vae.ts";
import { type Weights, weightShapes } from "../../src/models/weights.ts";
import { openLibrary } from "../../workers/generate/library.ts";
import { published, writeFile } from "../support/original.ts";

const dir = mkdtempSync(join(tmpdir(), "published-"));
after(() => rmSync(dir, { recursive: true }));

/** The vocabulary of all of them. */
const MERGES = join(import.meta.dirname, "../../assets/clip-vocab/merges.txt");

type Compute = (weights: Weights) => unknown;
type Holes = Map<string, { dtype: string; shape: readonly number[]; bytes?: Uint8Array }>;

/** Tensors of the networks' names and shapes, without bytes. */
function holes(...networks: Compute[]): Holes {
  const shapes = networks.flatMap((network) => [...weightShapes(network)]);
  return new Map(shapes.map(([name, shape]) => [name, { dtype: "F16", shape }]));
}

type Json = Record<string, unknown>;
const read = (name: string) => gunzipSync(readFileSync(join(import.meta.dirname, "../fixtures", name))).toString();
const folders = JSON.parse(read("published.json.gz")) as Record<string, Record<string, Json>>;
/** SDXL inpainting's U-Net has nine channels, and what EMA training leaves in a config. */
const sdxl = folders["stabilityai/stable-diffusion-xl-base-1.0"]!;
const emaKeys = {
  decay: 0.9999,
  inv_gamma: 1,
  min_decay: 0,
  optimization_step: 37000,
  power: 0.75,
  update_after_step: 0,
};
folders["diffusers/stable-diffusion-xl-1.0-inpainting-0.1"] = {
  ...sdxl,
  "model_index.json": { ...sdxl["model_index.json"], _class_name: "StableDiffusionXLInpaintPipeline" },
  "unet/config.json": { ...sdxl["unet/config.json"], in_channels: 9, ...emaKeys, use_ema_warmup: false },
};

/** Of each part of a folder, its weights' file and its networks. */
const PARTS: Record<string, { stem: string; networks: (json: Json) => Compute[] }> = {
  unet: {
    stem: "diffusion_pytorch_model",
    networks: (json) => {
      const config = parseConfig(unetConfig, json, "unet");
      return [(w) => unet(w, config)];
    },
  },
  vae: {
    stem: "diffusion_pytorch_model",
    networks: (json) => {
      const config = parseConfig(vaeConfig, json, "vae");
      return [(w) => vaeEncoder(w, config), (w) => vaeDecoder(w, config)];
    },
  },
  text_encoder: { stem: "model", networks: (json) => [(w) => clip(w, parseConfig(clipConfig, json, "text_encoder"))] },
  text_encoder_2: {
    stem: "model",
    networks: (json) => [(w) => clip(w, parseConfig(clipConfig, json, "text_encoder_2"))],
  },
};

function write(file: string, json: object): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(json));
}

/** What each folder is, or why it is not served. */
const FOLDERS: Record<string, RegExp | readonly unknown[]> = {
  // family, pixels, scheduler, prediction, what its U-Net is shown beside the latents
  "CompVis/stable-diffusion-v1-4": ["sd1", 512, "pndm", "epsilon", ""],
  "runwayml/stable-diffusion-v1-5": ["sd1", 512, "pndm", "epsilon", ""],
  "runwayml/stable-diffusion-inpainting": ["sd1", 512, "ddim", "epsilon", "inpainting"],
  "SG161222/Realistic_Vision_V5.1_noVAE": ["sd1", 512, "pndm", "epsilon", ""],
  "gsdf/Counterfeit-V2.5": ["sd1", 512, "ddim", "epsilon", ""],
  "nitrosocke/Nitro-Diffusion": ["sd1", 512, "pndm", "epsilon", ""],
  "timbrooks/instruct-pix2pix": ["sd1", 512, "euler_ancestral", "epsilon", "instruct-pix2pix"],
  "stabilityai/stable-diffusion-2-1": ["sd2", 768, "ddim", "v_prediction", ""],
  "stabilityai/stable-diffusion-2-1-base": ["sd2", 512, "pndm", "epsilon", ""],
  "stabilityai/stable-diffusion-2-inpainting": ["sd2", 512, "pndm", "epsilon", "inpainting"],
  "stabilityai/stable-diffusion-xl-base-1.0": ["sdxl", 1024, "euler", "epsilon", ""],
  "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": ["sdxl", 1024, "euler", "epsilon", "inpainting"],
  "a merge of SDXL": ["sdxl", 1024, "euler", "epsilon", ""],
  "hotshotco/Hotshot-XL": /HotshotXLPipeline/,
  "sudo-ai/zero123plus-v1.1": /Zero123PlusPipeline/,
  "interactdiffusion/diffusers-v1-2": /StableDiffusionInteractDiffusionPipeline, is not run/,
  "lambdalabs/sd-image-variations-diffusers": /StableDiffusionImageVariationPipeline/,
};

const BASES = {
  sd1: "runwayml/stable-diffusion-v1-5",
  sd2: "stabilityai/stable-diffusion-2-1",
  sdxl: "stabilityai/stable-diffusion-xl-base-1.0",
};

/** ControlNets' configs are those of their base's U-Net, but for these keys. */
const small = {
  down_block_types: ["DownBlock2D", "DownBlock2D", "DownBlock2D"],
  mid_block_type: "UNetMidBlock2D",
  transformer_layers_per_block: [0, 0, 0],
};
const mid = {
  down_block_types: ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
  transformer_layers_per_block: [1, 1, 1],
};
const CONTROLNETS: Record<string, { base: keyof typeof BASES; config?: object; pools?: boolean }> = {
  "lllyasviel/control_v11p_sd15_canny": { base: "sd1" },
  "lllyasviel/control_v11e_sd15_shuffle": { base: "sd1", config: { global_pool_conditions: true }, pools: true },
  "monster-labs/control_v1p_sd15_qrcode_monster": { base: "sd1" },
  "thibaud/controlnet-sd21-openpose-diffusers": { base: "sd2" },
  "diffusers/controlnet-canny-sdxl-1.0": { base: "sdxl" },
  "diffusers/controlnet-depth-sdxl-1.0-mid": { base: "sdxl", config: mid },
  "diffusers/controlnet-depth-sdxl-1.0-small": { base: "sdxl", config: small },
  "xinsir/controlnet-canny-sdxl-1.0": { base: "sdxl" },
  "TheMistoAI/MistoLine": { base: "sdxl" },
};

/** Files that stand among ControlNets, by a tensor that only they have. */
const OTHERS: Record<string, { tensor: string; reason: RegExp }> = {
  "kohya-ss/controlnet-lllite": { tensor: "lllite_unet_input_blocks_1_0.down.0.weight", reason: /ControlNet-LLLite/ },
  "TencentARC/t2i-adapter-canny-sdxl-1.0": { tensor: "adapter.body.0.in_conv.weight", reason: /T2I-Adapter/ },
  "InstantX/SD3-Controlnet-Canny": {
    tensor: "transformer_blocks.0.attn.add_q_proj.weight",
    reason: /Stable Diffusion 3/,
  },
  "XLabs-AI/flux-controlnet-canny": { tensor: "double_blocks.0.img_attn.qkv.weight", reason: /Flux/ },
  "h94/IP-Adapter": { tensor: "image_proj.proj.weight", reason: /IP-Adapter/ },
};

for (const [name, files] of Object.entries(folders)) {
  for (const [file, json] of Object.entries(files)) write(join(dir, name, file), json);
  if (FOLDERS[name] instanceof RegExp) continue;
  for (const [part, { stem, networks }] of Object.entries(PARTS)) {
    const json = files[`${part}/config.json`];
    if (json === undefined) continue;
    const tokenizer = join(dir, name, part.replace("text_encoder", "tokenizer"));
    if (part.startsWith("text_encoder")) symlinkSync(MERGES, join(tokenizer, "merges.txt"));
    writeFile(join(dir, name, part, `${stem}.safetensors`), holes(...networks(json)));
  }
}
for (const [name, { base, config }] of Object.entries(CONTROLNETS)) {
  const ofBase = Object.entries(folders[BASES[base]]!["unet/config.json"]!);
  const known = Object.fromEntries(ofBase.filter(([key]) => key in controlnetConfig.shape));
  const json = { ...known, ...config, _class_name: "ControlNetModel" };
  const folder = join(dir, "controlnets", name);
  write(join(folder, "config.json"), json);
  const parsed = parseConfig(controlnetConfig, json, "controlnet");
  const tensors = holes(
    (w) => controlnet(w, parsed),
    (w) => hintEncoder(w, parsed),
  );
  writeFile(join(folder, "diffusion_pytorch_model.safetensors"), tensors);
}
for (const [name, { tensor }] of Object.entries(OTHERS)) {
  mkdirSync(dirname(join(dir, "controlnets", name)), { recursive: true });
  writeFile(join(dir, "controlnets", `${name}.safetensors`), new Map([[tensor, { dtype: "F16", shape: [1] }]]));
}
/** SDXL's key list with a U-Net of eight channels and CosXL's mark: CosXL Edit. */
const first = "model.diffusion_model.input_blocks.0.0.weight";
const cosxl: Holes = new Map(
  published("sdxl").map(({ name, shape }) => [
    name,
    { dtype: "F16", shape: name === first ? [shape[0]!, 8, ...shape.slice(2)] : shape },
  ]),
);
writeFile(
  join(dir, "cosxl_edit.safetensors"),
  cosxl.set("edm_vpred.sigma_max", { dtype: "F32", shape: [1], bytes: new Uint8Array(Float32Array.of(120).buffer) }),
);

const { catalog } = openLibrary(dir);
const reasonOf = (id: string) => catalog.skipped.find((one) => one.id === id)?.reason ?? "it is served";

suite("what is published is taken for what it is", () => {
  for (const [name, expected] of Object.entries(FOLDERS)) {
    test(name, () => {
      if (expected instanceof RegExp) return assert.match(reasonOf(name), expected);
      const model = catalog.models.find(({ id }) => id === name);
      assert.ok(model !== undefined, reasonOf(name));
      const shown = model.inpainting ? "inpainting" : model.instruct_pix2pix ? "instruct-pix2pix" : "";
      assert.deepEqual([model.family, model.width, model.scheduler, model.prediction_type, shown], expected);
      assert.equal(model.height, model.width);
    });
  }

  test("cosxl_edit.safetensors", () => {
    const model = catalog.models.find(({ id }) => id === "cosxl_edit");
    assert.ok(model !== undefined, reasonOf("cosxl_edit"));
    assert.deepEqual([model.family, model.scheduler, model.instruct_pix2pix], ["sdxl", "edm_euler", true]);
  });

  for (const [name, { base, pools = false }] of Object.entries(CONTROLNETS)) {
    test(name, () => {
      const one = catalog.controlnets.find(({ id }) => id === name);
      assert.ok(one !== undefined, reasonOf(name));
      assert.equal(one.global_pool_conditions, pools);
      const fits = (id: string) => catalog.models.find((model) => model.id === id)!.family;
      assert.deepEqual([...new Set(one.models.map(fits))], [base], JSON.stringify(one.misfits));
      assert.deepEqual(one.warnings, []);
    });
  }

  for (const [name, { reason }] of Object.entries(OTHERS)) {
    test(name, () => assert.match(reasonOf(name), reason));
  }
});

test("a repository of the organization diffusers goes by its whole name on each shelf", () => {
  const ids = [...catalog.models, ...catalog.controlnets]
    .map(({ id }) => id)
    .filter((id) => id.startsWith("diffusers/"));
  assert.deepEqual(ids.sort(), [
    "diffusers/controlnet-canny-sdxl-1.0",
    "diffusers/controlnet-depth-sdxl-1.0-mid",
    "diffusers/controlnet-depth-sdxl-1.0-small",
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
  ]);
});
