/** Distilled U-Nets in one file, by their published forms in full size: told by names and shapes, they are what their configs say. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig, unetConfig } from "../../src/models/config.ts";
import { deriveUnet } from "../../src/models/derive-config.ts";
import { families } from "../../src/models/families.ts";
import { originalNames, originalUnet, renamed } from "../../src/models/original-names.ts";
import { unet } from "../../src/models/unet.ts";
import { type WeightSource, weightShapes } from "../../src/models/weights.ts";

const SD = { cross_attention_dim: 768, mid_block_type: null, layers_per_block: 1 };
const XL = {
  cross_attention_dim: 2048,
  use_linear_projection: true,
  attention_head_dim: [5, 10, 20],
  block_out_channels: [320, 640, 1280],
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  addition_embed_type: "text_time",
  addition_time_embed_dim: 256,
  projection_class_embeddings_input_dim: 2816,
};

const PUBLISHED: Record<string, ["sd1" | "sdxl", object]> = {
  "BK-SDM Small, Segmind's small-sd": ["sd1", SD],
  "BK-SDM Tiny": [
    "sd1",
    {
      ...SD,
      block_out_channels: [320, 640, 1280],
      down_block_types: Array(3).fill("CrossAttnDownBlock2D"),
      up_block_types: Array(3).fill("CrossAttnUpBlock2D"),
    },
  ],
  "SSD-1B": [
    "sdxl",
    {
      ...XL,
      mid_block_type: "UNetMidBlock2D",
      transformer_layers_per_block: [1, [2, 2], [4, 4]],
      reverse_transformer_layers_per_block: [[4, 4, 10], [2, 1, 1], 1],
    },
  ],
  "Segmind Vega": ["sdxl", { ...XL, mid_block_type: "UNetMidBlock2D", transformer_layers_per_block: [1, 1, 2] }],
  "Koala 700M": ["sdxl", { ...XL, layers_per_block: 1, mid_block_type: null, transformer_layers_per_block: [0, 2, 5] }],
  "Koala 1B": ["sdxl", { ...XL, layers_per_block: 1, transformer_layers_per_block: [0, 2, 6] }],
};

/** The tensors of a network under the original layout's names. */
function original(
  shapes: ReadonlyMap<string, readonly number[]>,
  layers: readonly number[],
): Map<string, WeightSource> {
  const rows = originalUnet(layers).map(([from, to]) => [`${to}.`, `${from}.`] as const);
  return new Map(
    [...shapes].map(([name, shape]) => {
      const [to, from] = rows.find(([to]) => name.startsWith(to))!;
      return [name.replace(to, from), { dtype: "F16", shape, offset: 0, length: 0, location: "" }];
    }),
  );
}

suite("a distilled U-Net in one file", () => {
  for (const [name, [family, json]] of Object.entries(PUBLISHED)) {
    test(name, () => {
      const config = parseConfig(unetConfig, json, "unet/config.json");
      const shapes = weightShapes((w) => unet(w, config));
      const levels = config.block_out_channels.length;
      const file = original(shapes, Array(levels).fill(config.layers_per_block));
      const unknown: string[] = [];
      const tensors = renamed(file, originalNames.unet(file), unknown);
      assert.deepEqual(unknown, []);
      const derived = deriveUnet(tensors, families[family]);
      assert.deepEqual(
        weightShapes((w) => unet(w, derived)),
        shapes,
      );
      const headsOf = ({ attention_head_dim: heads }: typeof config) =>
        typeof heads === "number" ? Array(levels).fill(heads) : heads;
      assert.deepEqual(headsOf(derived), headsOf(config));
    });
  }
});
