/** Single files: the names and shapes of the released ones, and the fixtures' weights written as they would be released. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { check } from "../../check/modules.ts";
import { loadControlNet, loadModel } from "../../src/diffusion/load.ts";
import { prepare } from "../../src/diffusion/pipeline.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { families } from "../../src/models/families.ts";
import { misfit } from "../../src/models/fit.ts";
import type { BaseModel, ControlNet } from "../../src/models/opened.ts";
import { originalNames, renamed } from "../../src/models/original-names.ts";
import { openSingleFile, openSingleFileControlNet } from "../../src/models/single-file.ts";
import type { WeightSource } from "../../src/models/weights.ts";
import { openLibrary } from "../../workers/generate/library.ts";
import {
  type OriginalTensor,
  originalLayout,
  published,
  readComponent,
  type Stored,
  writeFile,
} from "../support/original.ts";
import { finish, QUICK, request, runner, SIZE } from "../support/tiny.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const dir = mkdtempSync(join(tmpdir(), "single-file-"));
after(() => rmSync(dir, { recursive: true }));

type Holes = Map<string, { dtype: string; shape: readonly number[] }>;
const holes = (tensors: readonly OriginalTensor[], dtype = "F16"): Holes =>
  new Map(tensors.map(({ name, shape }) => [name, { dtype, shape }]));

/** A file with the names and shapes of a released one, changed. */
function released(
  table: string,
  change: (tensors: Holes) => void = () => {},
  file = join(dir, `${table}.safetensors`),
): string {
  const tensors = holes(published(table));
  change(tensors);
  writeFile(file, tensors);
  return file;
}

const INPUT = "model.diffusion_model.input_blocks.0.0.weight";
const sd1 = {
  block_out_channels: [320, 640, 1280, 1280],
  down_block_types: ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  layers_per_block: 2,
  transformer_layers_per_block: [1, 1, 1, 1],
  attention_head_dim: [8, 8, 8, 8],
  cross_attention_dim: 768,
  use_linear_projection: false,
  norm_num_groups: 32,
  in_channels: 4,
  addition_embed_type: null,
};
const sd2 = { ...sd1, attention_head_dim: [5, 10, 20, 20], cross_attention_dim: 1024, use_linear_projection: true };
const sdxl = {
  ...sd2,
  block_out_channels: [320, 640, 1280],
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  transformer_layers_per_block: [1, 2, 10],
  attention_head_dim: [5, 10, 20],
  cross_attention_dim: 2048,
  addition_embed_type: "text_time",
  addition_time_embed_dim: 256,
  projection_class_embeddings_input_dim: 2816,
};
const decoder = {
  sd1: {
    out_channels: 4,
    up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
  },
  sdxl: { out_channels: 4, up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"] },
};
const vae = { block_out_channels: [128, 256, 512, 512], layers_per_block: 2, latent_channels: 4, norm_num_groups: 32 };
const tower = (size: number, layers: number, hidden_act: string) => ({
  hidden_size: size,
  intermediate_size: 4 * size,
  num_hidden_layers: layers,
  num_attention_heads: size / 64,
  hidden_act,
  vocab_size: 49408,
});

/** Fails unless `actual` has every key of `expected`, and its value. */
function has(actual: object, expected: object): void {
  const keys = Object.keys(expected) as (keyof typeof actual)[];
  assert.deepEqual(Object.fromEntries(keys.map((key) => [key, actual[key]])), expected);
}

suite("a file with the released names and shapes opens as what it is", () => {
  test("SD 1.5", () => {
    const model = openSingleFile(released("sd1"));
    has(model.unet, { ...sd1, ...decoder.sd1, sample_size: 64 });
    has(model.vae, { ...vae, scaling_factor: 0.18215 });
    assert.equal(model.text.length, 1);
    has(model.text[0]!.config, tower(768, 12, "quick_gelu"));
    has(model.scheduler, { _class_name: "PNDMScheduler", steps_offset: 1 });
    assert.deepEqual(model.warnings, []);
  });

  test("SD 1.5 inpainting", () => {
    const model = openSingleFile(released("sd1", (t) => t.set(INPUT, { dtype: "F16", shape: [320, 9, 3, 3] })));
    has(model.unet, { ...sd1, ...decoder.sd1, in_channels: 9 });
  });

  test("SD 2.1, taken for the v-prediction model as diffusers does, and saying so", () => {
    const model = openSingleFile(released("sd2"));
    has(model.unet, { ...sd2, ...decoder.sd1, sample_size: 96 });
    has(model.vae, { ...vae, scaling_factor: 0.18215 });
    has(model.text[0]!.config, tower(1024, 23, "gelu"));
    has(model.scheduler, { _class_name: "DDIMScheduler", prediction_type: "v_prediction" });
    assert.match(model.assumed ?? "", /^taken for SD 2\.x at 768 pixels/);
  });

  test("SD 2.x written by diffusers' own script, without the layer that is never run", () => {
    const withoutLast = (tensors: Holes) => {
      for (const name of [...tensors.keys()]) {
        if (/resblocks\.23\.|text_projection|logit_scale/.test(name)) tensors.delete(name);
      }
    };
    has(openSingleFile(released("sd2", withoutLast)).text[0]!.config, tower(1024, 23, "gelu"));
  });

  test("SD 2 inpainting, which predicts epsilon", () => {
    const model = openSingleFile(released("sd2", (t) => t.set(INPUT, { dtype: "F16", shape: [320, 9, 3, 3] })));
    has(model.unet, { in_channels: 9, sample_size: 64 });
    has(model.scheduler, { _class_name: "PNDMScheduler" });
    assert.deepEqual(model.warnings, []);
  });

  test("SDXL", () => {
    const model = openSingleFile(released("sdxl"));
    has(model.unet, { ...sdxl, ...decoder.sdxl, sample_size: 128 });
    has(model.vae, { ...vae, scaling_factor: 0.13025 });
    assert.equal(model.text.length, 2);
    has(model.text[0]!.config, tower(768, 12, "quick_gelu"));
    has(model.text[1]!.config, { ...tower(1280, 32, "gelu"), projection_dim: 1280 });
    assert.equal(model.force_zeros_for_empty_prompt, true);
    has(model.scheduler, { _class_name: "EulerDiscreteScheduler", prediction_type: "epsilon" });
    assert.deepEqual(model.warnings, []);
  });

  test("SDXL that is marked as predicting v to zero terminal SNR", () => {
    const mark = { dtype: "F32", shape: [0] };
    const model = openSingleFile(released("sdxl", (t) => t.set("v_pred", mark).set("ztsnr", mark)));
    has(model.scheduler, { prediction_type: "v_prediction", rescale_betas_zero_snr: true });
    assert.deepEqual(model.warnings, []);
  });

  for (const [table, config] of Object.entries({ sd1, sd2, sdxl })) {
    const opened = (change: (tensors: readonly OriginalTensor[]) => Holes) => {
      const file = join(dir, "control.safetensors");
      writeFile(file, change(published(`controlnet-${table}`)));
      return openSingleFileControlNet(file).config;
    };
    const expected = {
      ...config,
      conditioning_embedding_out_channels: [16, 32, 96, 256],
      global_pool_conditions: false,
    };

    test(`a ControlNet of ${table}: original, pruned, and in diffusers' names`, () => {
      has(opened(holes), expected);
      has(
        opened((tensors) => holes(tensors.map((t) => ({ ...t, name: `control_model.${t.name}` })))),
        expected,
      );
      const name = ({ diffusers }: OriginalTensor) => diffusers[0]!.replace("controlnet/", "");
      has(
        opened((tensors) => holes(tensors.map((t) => ({ ...t, name: name(t) })))),
        expected,
      );
    });
  }
});

suite("every released name means what diffusers' loader takes it for", () => {
  const components = {
    unet: ["model.diffusion_model.", "unet"],
    vae: ["first_stage_model.", "vae"],
    text_encoder: ["cond_stage_model.transformer.", "clip"],
  } as const;
  const tables = {
    sd1: components,
    sd2: { ...components, text_encoder: ["cond_stage_model.model.", "openClip"] },
    sdxl: {
      ...components,
      text_encoder: ["conditioner.embedders.0.transformer.", "clip"],
      text_encoder_2: ["conditioner.embedders.1.model.", "openClipPooled"],
    },
    ...Object.fromEntries(["sd1", "sd2", "sdxl"].map((f) => [`controlnet-${f}`, { controlnet: ["", "controlnet"] }])),
  } as Record<string, Record<string, readonly [prefix: string, names: keyof typeof originalNames]>>;

  for (const [table, parts] of Object.entries(tables)) {
    test(table, () => {
      const known = new Map<string, string>();
      for (const [component, [prefix, names]] of Object.entries(parts)) {
        const own = published(table).filter(({ name }) => name.startsWith(prefix));
        // Where a tensor comes from is written into its location, so that each new name leads back to it.
        const tensors = new Map(
          own.map(({ name, shape }): [string, WeightSource] => [
            name.slice(prefix.length),
            { dtype: "F32", shape, offset: 0, length: 12, location: name },
          ]),
        );
        for (const [name, { location, offset }] of renamed(tensors, originalNames[names](tensors), [])) {
          known.set(`${component}/${name}`, `${location} ${offset}`);
        }
      }
      let compared = 0;
      for (const { name, diffusers } of published(table)) {
        diffusers.forEach((target, i) => {
          assert.equal(known.get(target), `${name} ${4 * i}`, target);
          compared++;
        });
      }
      assert.ok(compared >= 340);
    });
  }
});

suite("the fixtures' weights in the original layout give the reference's outputs, and the folder's picture to the last bit", () => {
  const garbage = (shape: readonly number[], dtype = "F32"): Stored => ({
    dtype,
    shape,
    bytes: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)).fill(255),
  });

  /** The parts of a fixture's base model in one file, beside things that training left there. */
  function writeBase(fixture: string, table: string, change: (tensors: Map<string, Stored>) => void): string {
    const base = join(fixtures, fixture, "base");
    const components = ["unet", "vae", "text_encoder", "text_encoder_2"].flatMap((component) => {
      const names = readdirSync(base).includes(component) ? readdirSync(join(base, component)) : [];
      const weights = names.find((name) => name.endsWith(".safetensors"));
      return weights === undefined ? [] : [...readComponent(component, join(base, component, weights))];
    });
    const tensors = originalLayout(table, new Map(components));
    tensors.set("model_ema.diffusion_modelinput_blocks00bias", garbage([16]));
    tensors.set("model_ema.num_updates", garbage([1], "I32"));
    tensors.set("betas", garbage([1000]));
    tensors.set("surprise", garbage([2]));
    change(tensors);
    const file = join(dir, `${fixture}.safetensors`);
    writeFile(file, tensors);
    return file;
  }

  /** The fixtures have so few channels that their heads and norm groups are their own. */
  const small = (family: keyof typeof families, heads: readonly number[]) => ({
    ...families,
    [family]: {
      ...families[family],
      heads: (_: number, level: number) => heads[level]!,
      norm_num_groups: 8,
      addition_time_embed_dim: 8,
      towers: families[family].towers.map((own) => ({ ...own, heads: () => 4, layers: 3 })),
    },
  });

  interface Case {
    family: "sd1" | "sd2" | "sdxl";
    heads: number[];
    /** What stands before the names of a ControlNet, null for diffusers' names. */
    controlnets: Record<string, string | null>;
    change: (tensors: Map<string, Stored>) => void;
  }
  const cases: Record<string, Case> = {
    sd15: {
      family: "sd1",
      heads: [4, 4, 4, 4],
      controlnets: { canny: "control_model.", depth: "", shuffle: "control_model.", untrained: null },
      // A VAE in full precision beside a U-Net in half.
      change(tensors) {
        for (const [name, { shape, bytes }] of tensors) {
          if (!name.startsWith("first_stage_model.")) continue;
          const values = Float32Array.from(new Float16Array(new Uint8Array(bytes).buffer));
          tensors.set(name, { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) });
        }
      },
    },
    sd21: {
      family: "sd2",
      heads: [2, 2, 4, 4],
      controlnets: { canny: "" },
      // The released files have a last layer, which is never run.
      change(tensors) {
        for (const [name, { shape }] of tensors) {
          if (name.includes("resblocks.2.")) tensors.set(name.replace("blocks.2.", "blocks.3."), garbage(shape));
        }
        tensors.set("cond_stage_model.model.text_projection", garbage([32, 32]));
      },
    },
    sdxl: { family: "sdxl", heads: [2, 4, 8], controlnets: { canny: "control_model.", depth: null }, change() {} },
  };

  for (const [fixture, { family, heads, controlnets, change }] of Object.entries(cases)) {
    test(fixture, async () => {
      const table = small(family, heads);
      const base = openSingleFile(writeBase(fixture, family, change), table);
      assert.match(base.warnings.join(), /not used: model_ema\.\* \(2 tensors\), surprise$/);

      const folder = join(dir, `controlnets-${fixture}`);
      mkdirSync(folder);
      const file = (id: string) => join(folder, `${id}.safetensors`);
      for (const [id, prefix] of Object.entries(controlnets)) {
        const source = join(fixtures, fixture, "controlnets", id, "diffusion_pytorch_model.safetensors");
        const tensors = originalLayout(`controlnet-${family}`, readComponent("controlnet", source));
        if (prefix === null) cpSync(source, file(id));
        else writeFile(file(id), new Map([...tensors].map(([name, tensor]) => [prefix + name, tensor])));
      }

      const findings = await check(join(fixtures, fixture), QUICK, base, (id) =>
        openSingleFileControlNet(file(id), table),
      );
      for (const { subject, error, bound } of findings) assert.ok(error <= bound, `${subject}: ${error}`);
      for (const id of Object.keys(controlnets)) {
        assert.equal(misfit(base.unet, openSingleFileControlNet(file(id), table).config), null);
      }

      const folderBase = openBase(join(fixtures, fixture, "base"));
      // A single file gets the released models' tokenizer; the fixtures' text encoders have a small vocabulary of their own.
      const text = folderBase.text.map(({ tokenizerFolder, config: { eos_token_id } }, i) => {
        const tower = base.text[i]!;
        return { ...tower, tokenizerFolder, config: { ...tower.config, eos_token_id } };
      });
      const own = await picture({ ...base, text }, openSingleFileControlNet(file("canny"), table));
      const folders = await picture(folderBase, openControlNet(join(fixtures, fixture, "controlnets/canny")));
      assert.ok(Buffer.from(own.buffer).equals(Buffer.from(folders.buffer)), "the same picture, to the last bit");
    });
  }
});

/** What a model makes under the control of a ControlNet. */
async function picture(base: BaseModel, controlnet: ControlNet): Promise<Float32Array> {
  const image = { dims: [1, 3, SIZE, SIZE], data: Float32Array.from({ length: 3 * SIZE ** 2 }, (_, i) => (i % 7) / 7) };
  const images = { hints: [[async () => image]], masks: [null], source: null };
  const controlnets = [loadControlNet(controlnet, runner, runner)];
  const plan = await prepare(
    request({ num_inference_steps: 2 }, [{}]),
    loadModel(base, runner, runner),
    controlnets,
    images,
  );
  return (await finish(plan))[0]!;
}

suite("what is no such model is refused with the reason", () => {
  const open = (names: string[], opener: (file: string) => unknown = openSingleFile) => {
    const file = join(dir, "refused.safetensors");
    writeFile(file, new Map(names.map((name) => [name, { dtype: "F16", shape: [1] }])));
    return () => opener(file);
  };
  const cases: [string, string, RegExp][] = [
    [
      "Stable Diffusion 3",
      "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight",
      /: Stable Diffusion 3 is/,
    ],
    ["Flux", "double_blocks.0.img_attn.norm.key_norm.scale", /: Flux is not supported/],
    [
      "a LoRA of kohya's scripts",
      "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight",
      /a LoRA belongs into loras/,
    ],
    ["a LoRA of diffusers", "unet.mid_block.attentions.0.proj_in.lora_A.weight", /a LoRA belongs into loras/],
    ["a VAE", "first_stage_model.decoder.conv_in.weight", /: no U-Net: the file has no model\.diffusion_model\.\*/],
    ["a U-Net alone", INPUT, /"mid_block\.attentions|no tensor|shape/],
  ];
  for (const [what, name, reason] of cases) {
    test(what, () => assert.throws(open([name]), reason));
  }

  test("a U-Net with text encoder and no VAE", () => {
    const file = released("sd1", (tensors) => {
      for (const name of [...tensors.keys()]) if (name.startsWith("first_stage_model.")) tensors.delete(name);
    });
    assert.throws(() => openSingleFile(file), /no VAE: the file has no first_stage_model/);
  });

  test("the SDXL refiner: SDXL's second text encoder alone", () => {
    const refiner = released("sdxl", (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        if (!name.startsWith("conditioner.")) continue;
        tensors.delete(name);
        if (name.includes(".1.model.")) tensors.set(name.replace(".1.model.", ".0.model."), tensor);
      }
    });
    assert.throws(() => openSingleFile(refiner), /the SDXL refiner is not supported/);
  });

  test("weights that are whole numbers", () => {
    const file = released("sd1", (tensors) => tensors.set(INPUT, { dtype: "I8", shape: [320, 4, 3, 3] }));
    assert.throws(() => openSingleFile(file), /"conv_in\.weight" is stored as I8, not as one of F32/);
  });

  test("a tensor of the U-Net that nothing reads", () => {
    const odd = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.adapter.weight";
    const file = released("sd1", (tensors) => tensors.set(odd, { dtype: "F16", shape: [320] }));
    assert.throws(() => openSingleFile(file), /does not read 1 of the tensors, such as "down_blocks\.0\.attentions\.0/);
  });

  test("a tensor of the text encoder that nothing reads", () => {
    const odd = "cond_stage_model.transformer.text_model.encoder.layers.3.gate";
    const file = released("sd1", (tensors) => tensors.set(odd, { dtype: "F16", shape: [1] }));
    assert.throws(() => openSingleFile(file), /text_encoder: .* such as "text_model\.encoder\.layers\.3\.gate"/);
  });

  test("a ControlNet of which a .yaml says that the middle residual alone counts", () => {
    const file = released("controlnet-sd1", () => {}, join(dir, "middle.safetensors"));
    writeFileSync(join(dir, "middle.yaml"), "model:\n  params:\n    only_mid_control: True\n");
    assert.throws(() => openSingleFileControlNet(file), /only_mid_control is not supported/);
  });

  test("a base model among the ControlNets; a Control-LoRA, a difference, a ControlNet-Union among the models", () => {
    assert.throws(open([INPUT], openSingleFileControlNet), /^Error: not a ControlNet/);
    assert.throws(open(["lora_controlnet"]), /Control-LoRA belongs into controlnets/);
    assert.throws(
      open(["difference"]),
      /a ControlNet stored as a difference from a base model belongs into controlnets/,
    );
    assert.throws(open(["task_embedding"]), /ControlNet-Union belongs into controlnets/);
  });
});

test("the scale of the VAE's latents is what the .yaml beside a file says", () => {
  const file = released("sd1", () => {}, join(dir, "scaled.safetensors"));
  writeFileSync(join(dir, "scaled.yaml"), "model:\n  params:\n    scale_factor: 0.25\n    linear_end: 0.02\n");
  const { vae, scheduler } = openSingleFile(file);
  assert.equal(vae.scaling_factor, 0.25);
  assert.deepEqual(scheduler, { ...families.sd1.scheduler, prediction_type: "epsilon", beta_end: 0.02 });
});

test("MODELS_DIR: files are models by their names without suffix, a folder comes before a file, the rest is skipped", () => {
  const models = join(dir, "models");
  mkdirSync(join(models, "controlnets"), { recursive: true });
  cpSync(join(fixtures, "sd15/base"), join(models, "both"), { recursive: true });
  const write = (table: string, name: string) => released(table, () => {}, join(models, name));
  write("sd1", "both.safetensors");
  write("sd1", "v1-5.safetensors");
  writeFileSync(join(models, "old.ckpt"), "");
  writeFileSync(join(models, "broken.safetensors"), "x");
  write("controlnet-sd1", "controlnets/canny.safetensors");
  write("controlnet-sd1", "controlnets/control_v11e_sd15_shuffle.safetensors");
  write("controlnet-sd1", "controlnets/pooling.safetensors");
  writeFileSync(join(models, "controlnets/pooling.yaml"), "model:\n  params:\n    global_average_pooling: True\n");
  write("sd1", "controlnets/v1-5.safetensors");

  const { catalog } = openLibrary(models);
  const entries = catalog.models.map(({ id, family, width }) => [id, family, width]);
  assert.deepEqual(entries.sort(), [
    ["both", "sd1", 64],
    ["v1-5", "sd1", 512],
  ]);
  assert.deepEqual(
    catalog.controlnets.map(({ id, models, global_pool_conditions }) => [id, models, global_pool_conditions]).sort(),
    [
      ["canny", ["v1-5"], false],
      ["control_v11e_sd15_shuffle", ["v1-5"], true],
      ["pooling", ["v1-5"], true],
    ],
  );
  const reasons = Object.fromEntries(
    catalog.skipped.map(({ path, reason }) => [path.slice(models.length + 1), reason]),
  );
  assert.deepEqual(Object.keys(reasons).sort(), [
    "both.safetensors",
    "broken.safetensors",
    "controlnets/v1-5.safetensors",
    "old.ckpt",
  ]);
  assert.match(reasons["both.safetensors"]!, /folder "both"/);
  assert.match(reasons["old.ckpt"]!, /pickle/);
});
