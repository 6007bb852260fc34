/** The levels of a U-Net or a ControlNet: what a config says of each, in the forms that diffusers takes, and whether it holds together. */
import { type EncoderConfig, type UnetConfig, UnsupportedError } from "./config.ts";

/** The value of a level, where a config gives one for all levels or a list. */
const level = <T>(value: T | readonly T[], i: number): T => (Array.isArray(value) ? value[i]! : (value as T));

export const layersOf = (config: EncoderConfig, i: number) => level<number>(config.layers_per_block, i);

export const heads = (config: EncoderConfig, i: number) =>
  level<number>(config.num_attention_heads || config.attention_head_dim, i);

export const isAttending = (blockType: string) => blockType.startsWith("CrossAttn");

type Depth = number | readonly number[];

/** The transformer layers of each of `layers` attentions. */
const spread = (depth: Depth, layers: number): readonly number[] =>
  typeof depth === "number" ? Array<number>(layers).fill(depth) : depth;

const depthOf = (config: EncoderConfig, i: number): Depth => {
  const { transformer_layers_per_block: depths } = config;
  return typeof depths === "number" ? depths : depths[i]!;
};

/** What a level of the encoder is made of. */
export interface Level {
  readonly channels: number;
  /** How many layers: a residual block each, and in an attending level a transformer. */
  readonly layers: number;
  readonly isAttending: boolean;
  /** Transformer layers of each layer's attention. */
  readonly depths: readonly number[];
  readonly heads: number;
  /** The first attention of each transformer layer sees the text instead of the picture. */
  readonly onlyCross: boolean;
}

/** From the picture's size down. */
export function downLevels(config: EncoderConfig): Level[] {
  return config.down_block_types.map((type, i) => ({
    channels: config.block_out_channels[i]!,
    layers: layersOf(config, i),
    isAttending: isAttending(type),
    depths: spread(depthOf(config, i), layersOf(config, i)),
    heads: heads(config, i),
    onlyCross: level<boolean>(config.only_cross_attention, i),
  }));
}

/** From the smallest up: each has one layer more than the level of the same size on the way down. */
export function upLevels(config: UnetConfig): Level[] {
  return config.up_block_types.map((type, i) => {
    const below = config.block_out_channels.length - 1 - i;
    const layers = layersOf(config, below) + 1;
    const depth = config.reverse_transformer_layers_per_block?.[i] ?? depthOf(config, below);
    return {
      channels: config.block_out_channels[below]!,
      layers,
      isAttending: isAttending(type),
      depths: spread(depth, layers),
      heads: heads(config, below),
      onlyCross: level<boolean>(config.only_cross_attention, below),
    };
  });
}

/** The middle block's one transformer: of a list, diffusers takes the first number. */
export const middleDepth = (config: EncoderConfig): number =>
  spread(depthOf(config, config.block_out_channels.length - 1), 1)[0]!;

const hasCrossMiddle = ({ mid_block_type }: EncoderConfig) => mid_block_type === "UNetMidBlock2DCrossAttn";

/** How many attentions to the text each block has, as diffusers counts them: one for each layer's transformer. */
export function attentionBlocks(config: UnetConfig) {
  const counts = (levels: readonly Level[]) => levels.map(({ isAttending, layers }) => (isAttending ? layers : 0));
  return { down: counts(downLevels(config)), mid: [hasCrossMiddle(config) ? 1 : 0], up: counts(upLevels(config)) };
}

/** Whether anything in it reads the text. */
export const readsText = (config: EncoderConfig): boolean =>
  hasCrossMiddle(config) ||
  downLevels(config).some((one) => one.isAttending) ||
  ("up_block_types" in config && config.up_block_types.some(isAttending));

const PER_LEVEL = [
  "down_block_types",
  "up_block_types",
  "layers_per_block",
  "attention_head_dim",
  "num_attention_heads",
  "only_cross_attention",
  "transformer_layers_per_block",
  "reverse_transformer_layers_per_block",
] as const;

/**
 * diffusers' UNet2DConditionModel._check_config, and what fails there later, or takes a list's last number for another level's.
 * @throws UnsupportedError that names the key
 */
export function requireLevels(config: EncoderConfig, component: string): void {
  const refusal = (key: string, reason: string) => new UnsupportedError(`${component}: "${key}": ${reason}`);
  const levels = config.block_out_channels.length;
  if (levels === 0) {
    throw refusal("block_out_channels", "no levels");
  }
  for (const key of PER_LEVEL) {
    const value = (config as Record<string, unknown>)[key];
    if (Array.isArray(value) && value.length !== levels) {
      throw refusal(key, `${value.length} values for the ${levels} levels of block_out_channels`);
    }
  }
  const tooFew = ({ isAttending, depths, layers }: Level) => isAttending && depths.length < layers;
  if (downLevels(config).some(tooFew)) {
    throw refusal("transformer_layers_per_block", "fewer numbers than the level has layers");
  }
  if (!("up_block_types" in config)) {
    return;
  }
  const { transformer_layers_per_block: down, reverse_transformer_layers_per_block: up } = config;
  if (Array.isArray(down) && down.some(Array.isArray) && up === null) {
    throw refusal("reverse_transformer_layers_per_block", "must be there where transformer_layers_per_block has lists");
  }
  if (upLevels(config).some(tooFew)) {
    throw refusal("reverse_transformer_layers_per_block", "fewer numbers than the level has layers");
  }
}
