/** Folders as they are published differ from what diffusers writes today: each difference, and each that is refused. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTensors } from "../../check/tensors.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { misfit } from "../../src/models/fit.ts";
import type { Network } from "../../src/models/network.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";
import { type RawTensor, readRaw, writeRaw } from "../support/rewrite.ts";

const FIXTURE = join(import.meta.dirname, "../fixtures/sd15");
const modules = readTensors(join(FIXTURE, "modules.safetensors"));
const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A copy of the sd15 base model, changed. */
function changed(change: (folder: string) => void): string {
  const folder = mkdtempSync(join(tmpdir(), "base-"));
  folders.push(folder);
  cpSync(join(FIXTURE, "base"), folder, { recursive: true });
  change(folder);
  return folder;
}

function editJson(file: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(file, "utf8"));
  edit(json);
  writeFileSync(file, JSON.stringify(json));
}

/** The same tensors under other names; null leaves one out. */
function renameTensors(file: string, rename: (name: string) => string | null, to = file): void {
  const renamed = [...readRaw(file)].map(([name, tensor]) => [rename(name), tensor] as const);
  writeRaw(to, new Map(renamed.filter((entry): entry is [string, RawTensor] => entry[0] !== null)));
}

const WEIGHTS = "diffusion_pytorch_model";

async function run(network: Network, feeds: Parameters<Awaited<ReturnType<typeof openSession>>["run"]>[0]) {
  const session = await openSession(network.graph(), CPU);
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

const decoded = async (base: BaseModel) =>
  (await run(base.networks.vae_decoder, { latents: modules.get("vae.z")! })).image!.data;

async function sameAsFixture(folder: string): Promise<void> {
  assert.deepEqual(await decoded(openBase(folder)), await decoded(openBase(join(FIXTURE, "base"))));
}

test("the VAE's attention under the names of before diffusers 0.14", () =>
  sameAsFixture(
    changed((folder) =>
      renameTensors(join(folder, "vae", `${WEIGHTS}.safetensors`), (name) =>
        name
          .replace(/attentions\.0\.to_q/, "attentions.0.query")
          .replace(/attentions\.0\.to_k/, "attentions.0.key")
          .replace(/attentions\.0\.to_v/, "attentions.0.value")
          .replace(/attentions\.0\.to_out\.0/, "attentions.0.proj_attn"),
      ),
    ),
  ));

test("configs with only the keys that diffusers wrote in its first versions", () => {
  const kept = {
    unet: [
      "act_fn",
      "attention_head_dim",
      "block_out_channels",
      "cross_attention_dim",
      "norm_num_groups",
      "sample_size",
    ],
    vae: [
      "block_out_channels",
      "down_block_types",
      "up_block_types",
      "latent_channels",
      "norm_num_groups",
      "sample_size",
    ],
  };
  const folder = changed((folder) => {
    for (const [part, keys] of Object.entries(kept)) {
      editJson(join(folder, part, "config.json"), (json) => {
        for (const key of Object.keys(json)) if (!keys.includes(key)) delete json[key];
      });
    }
  });
  const [bare, whole] = [openBase(folder), openBase(join(FIXTURE, "base"))];
  assert.deepEqual(bare.networks.unet.graph().bytes, whole.networks.unet.graph().bytes);
  assert.deepEqual(bare.networks.vae_decoder.graph().bytes, whole.networks.vae_decoder.graph().bytes);
  assert.equal(bare.vae.scaling_factor, whole.vae.scaling_factor);
});

/** The fixture's two files name different classes. */
const SCHEDULERS =
  "model_index.json names DDIMScheduler, scheduler_config.json PNDMScheduler: the latter is the default, unlike in diffusers";

/** The fixture under an index that names another scheduler. */
const indexSays = (scheduler: string) =>
  changed((folder) =>
    editJson(join(folder, "model_index.json"), (json) => (json.scheduler = ["diffusers", scheduler])),
  );

test("the scheduler that the index names counts, as in diffusers, and it is said where the config names another", () => {
  const euler = openBase(indexSays("EulerDiscreteScheduler"));
  const { _class_name: name, steps_offset } = euler.scheduler as Record<string, unknown>;
  assert.deepEqual([name, steps_offset], ["EulerDiscreteScheduler", 1]);
  assert.match(euler.warnings.join(), /names EulerDiscreteScheduler, .* PNDMScheduler: the former is the default/);
  assert.deepEqual(openBase(join(FIXTURE, "base")).warnings, [SCHEDULERS]);
  assert.doesNotMatch(openBase(indexSays("PNDMScheduler")).warnings.join(), /is the default/);
  assert.throws(() => openBase(indexSays("EDMEulerScheduler")), /EDMEulerScheduler.*different noise schedules/);
});

test("keys that diffusers wrote as defaults of their time are read as today's", () => {
  const folder = changed((folder) =>
    editJson(join(folder, "scheduler/scheduler_config.json"), (json) =>
      Object.assign(json, { timestep_spacing: "trailing", _use_default_values: ["timestep_spacing"] }),
    ),
  );
  assert.ok(!("timestep_spacing" in openBase(folder).scheduler));
});

test("a safety checker and a feature extractor are skipped with a warning", () => {
  const folder = changed((folder) =>
    editJson(join(folder, "model_index.json"), (json) => {
      json.safety_checker = ["stable_diffusion", "StableDiffusionSafetyChecker"];
      json.feature_extractor = ["transformers", "CLIPImageProcessor"];
    }),
  );
  assert.deepEqual(openBase(folder).warnings, [
    "safety_checker is not run",
    "feature_extractor is not run",
    SCHEDULERS,
  ]);
});

test("half-precision files, or those of another variant, instead of the plain ones", () =>
  sameAsFixture(
    changed((folder) => {
      for (const [part, stem, variant] of [
        ["unet", WEIGHTS, "non_ema"],
        ["vae", WEIGHTS, "bf16"],
        ["text_encoder", "model", "fp16"],
      ] as const)
        renameSync(join(folder, part, `${stem}.safetensors`), join(folder, part, `${stem}.${variant}.safetensors`));
    }),
  ));

test("half-precision files and pickles beside the plain ones change nothing", () =>
  sameAsFixture(
    changed((folder) => {
      writeFileSync(join(folder, "vae", `${WEIGHTS}.fp16.safetensors`), "");
      writeFileSync(join(folder, "vae", `${WEIGHTS}.bin`), "");
    }),
  ));

test("weights in several files, by their index", () =>
  sameAsFixture(
    changed((folder) => {
      const file = join(folder, "vae", `${WEIGHTS}.safetensors`);
      const shards = {
        encoder: `${WEIGHTS}-00001-of-00002.safetensors`,
        rest: `${WEIGHTS}-00002-of-00002.safetensors`,
      };
      const shardOf = (name: string) => (name.startsWith("encoder") ? shards.encoder : shards.rest);
      const names = [...readRaw(file).keys()];
      for (const shard of Object.values(shards))
        renameTensors(file, (name) => (shardOf(name) === shard ? name : null), join(folder, "vae", shard));
      rmSync(file);
      const weight_map = Object.fromEntries(names.map((name) => [name, shardOf(name)]));
      writeFileSync(`${file}.index.json`, JSON.stringify({ metadata: {}, weight_map }));
    }),
  ));

test("weights behind links, as a Hugging Face cache has them", () =>
  sameAsFixture(
    changed((folder) => {
      mkdirSync(join(folder, "blobs"));
      const file = join(folder, "vae", `${WEIGHTS}.safetensors`);
      renameSync(file, join(folder, "blobs", "0123abcd"));
      symlinkSync("../blobs/0123abcd", file);
    }),
  ));

const refused = (what: string, change: (folder: string) => void, message: RegExp) =>
  test(`refuses ${what}`, () => assert.throws(() => openBase(changed(change)), message));

refused(
  "a folder without weights",
  (folder) => rmSync(join(folder, "unet", `${WEIGHTS}.safetensors`)),
  /unet\/diffusion_pytorch_model\.safetensors is missing/,
);
refused(
  "a pickle, by its name",
  (folder) => renameSync(join(folder, "unet", `${WEIGHTS}.safetensors`), join(folder, "unet", `${WEIGHTS}.bin`)),
  /unet\/diffusion_pytorch_model\.bin is a pickle.*only \.safetensors/,
);
refused(
  "weights of which no variant is the plain one, and it is not said which is meant",
  (folder) => {
    const file = join(folder, "unet", WEIGHTS);
    cpSync(`${file}.safetensors`, `${file}.non_ema.safetensors`);
    renameSync(`${file}.safetensors`, `${file}.ema.safetensors`);
  },
  /unet has the variants .*ema.*: name the one that is meant diffusion_pytorch_model\.safetensors/,
);
refused(
  "a config key that would change the result",
  (folder) => editJson(join(folder, "unet", "config.json"), (json) => (json.center_input_sample = true)),
  /unet\/config\.json: "center_input_sample": not supported/,
);
refused(
  "a value that the graphs do not compute",
  (folder) => editJson(join(folder, "unet", "config.json"), (json) => (json.resnet_time_scale_shift = "ada_group")),
  /"resnet_time_scale_shift"/,
);
refused(
  "weights of another shape than the config says, with both",
  (folder) => editJson(join(folder, "unet", "config.json"), (json) => (json.cross_attention_dim = 64)),
  /32.*64/,
);
refused(
  "a config that asks for quantized weights, whatever the weights are",
  (folder) =>
    editJson(
      join(folder, "unet", "config.json"),
      (json) => (json.quantization_config = { quant_method: "bitsandbytes" }),
    ),
  /unet\/config\.json: "quantization_config": weights quantized by bitsandbytes are not supported/,
);
refused(
  "another family, by its name",
  (folder) => editJson(join(folder, "model_index.json"), (json) => (json._class_name = "FluxPipeline")),
  /FluxPipeline \(Flux\) is not one of StableDiffusionPipeline/,
);

test("a config's keys that its class does not have are ignored with a warning, as diffusers and transformers do", () => {
  const folder = changed((folder) => {
    editJson(join(folder, "unet", "config.json"), (json) => Object.assign(json, { decay: 0.9999, inv_gamma: 1 }));
    editJson(join(folder, "text_encoder", "config.json"), (json) => (json.rope_theta = 10_000));
  });
  assert.deepEqual(openBase(folder).warnings, [
    "unet/config.json: decay, inv_gamma ignored, as diffusers does",
    "text_encoder/config.json: rope_theta ignored, as diffusers does",
    SCHEDULERS,
  ]);
});
refused(
  "a text encoder of another kind, or without some of its heads",
  (folder) =>
    editJson(join(folder, "text_encoder", "config.json"), (json) => {
      json.model_type = "t5";
      json.pruned_heads = { 0: [1] };
    }),
  /"model_type".*"pruned_heads": heads that were pruned/,
);

/** Sharded weights whose index says something else. */
const refusedIndex = (what: string, edit: (map: Record<string, unknown>) => void, message: RegExp) =>
  refused(
    `an index ${what}`,
    (folder) => {
      const file = join(folder, "vae", `${WEIGHTS}.safetensors`);
      const shard = `${WEIGHTS}-00001-of-00001.safetensors`;
      const map = Object.fromEntries([...readRaw(file).keys()].map((name) => [name, shard as unknown]));
      renameSync(file, join(folder, "vae", shard));
      edit(map);
      writeFileSync(`${file}.index.json`, JSON.stringify({ weight_map: map }));
    },
    message,
  );
const TENSOR = "quant_conv.bias";
refusedIndex(
  "without a file",
  (map) => {
    for (const name of Object.keys(map)) delete map[name];
  },
  /index\.json: no weight_map, or an empty one/,
);
refusedIndex("that names no text", (map) => (map[TENSOR] = 5), /index\.json: 5 is not a safetensors file/);
refusedIndex(
  "that leaves the folder",
  (map) => (map[TENSOR] = `../unet/${WEIGHTS}.safetensors`),
  /"\.\.\/unet\/.*" is not a safetensors file of the same folder/,
);
refusedIndex("of a file that is missing", (map) => (map[TENSOR] = "gone.safetensors"), /gone\.safetensors is missing/);
refusedIndex(
  "that says a tensor is where it is not",
  (map) => (map["no.such.tensor"] = map[TENSOR]),
  /does not have the tensor "no\.such\.tensor"/,
);

test("a ControlNet of other channels does not fit, and both are named", () => {
  const { unet } = openBase(join(FIXTURE, "base"));
  const { config } = openControlNet(join(FIXTURE, "controlnets", "canny"));
  assert.equal(misfit(unet, config), null);
  assert.match(misfit(unet, { ...config, block_out_channels: [16, 32, 32, 64] })!, /\[16, .*64\].*\[16, .*32\]/);
  assert.match(misfit(unet, { ...config, cross_attention_dim: 768 })!, /\[B, 77, 768\].*\[B, 77, 32\]/);
});
