/** Tensors that no network reads. A picture made without them is another picture, unless they are known not to matter. */
import { UnsupportedError } from "./config.ts";
import type { Network } from "./network.ts";

/** What diffusers and transformers leave unread too (`_keys_to_ignore_on_load_unexpected` and buffers), by what it is of. */
const IGNORED = {
  unet: [],
  ControlNet: [],
  vae: [/^loss\./, /^model_ema\./],
  text_encoder: [
    /(^|\.)embeddings\.position_ids$/,
    /^logit_scale$/,
    /^(vision_model|visual_projection|visual)\./,
    /(^|\.)text_projection(\.weight)?$/,
    /^(attn_mask|(model\.)?transformer\.attn_mask)$/,
  ],
  "T2I-Adapter": [],
  safety_checker: [/(^|\.)embeddings\.position_ids$/, /^logit_scale$/, /^text_(model|projection)\./],
} satisfies Record<string, readonly RegExp[]>;

/** The text encoder's layer that a tensor is of: those after the ones that are run are left unread whole. */
const layerOf = (name: string) => /(^|\.)encoder\.layers\.\d+\./.exec(name)?.[0];

/** Scales of weights stored as float8: read with the weight, or for activations in float8, which are float32 here. */
const FLOAT8 = /(^|\.)(scaled_fp8|scale_weight|scale_input|weight_scale|input_scale|comfy_quant)$/;

/**
 * @param names of all the tensors that a component's files have, as diffusers names them
 * @throws UnsupportedError that counts those that none of its networks reads, and names the first
 */
export function requireRead(
  names: Iterable<string>,
  networks: readonly Pick<Network, "reads">[],
  component: keyof typeof IGNORED,
): void {
  const patterns: readonly RegExp[] = IGNORED[component];
  const read = new Set(networks.flatMap(({ reads }) => [...reads]));
  const layers = new Set([...read].map(layerOf));
  const isAfter = (name: string) => {
    const layer = component === "text_encoder" ? layerOf(name) : undefined;
    return layer !== undefined && !layers.has(layer);
  };
  const unread = [...names].filter(
    (name) => !(FLOAT8.test(name) || read.has(name) || patterns.some((one) => one.test(name)) || isAfter(name)),
  );
  if (unread.length > 0) {
    throw new UnsupportedError(
      `${component}: a network of this config does not read ${unread.length} of the tensors, such as "${unread[0]}"`,
    );
  }
}
