import type { Tensor } from "../onnx/tensor.ts";
import type { LoadedModel } from "./model.ts";

export interface EncodedPrompts {
  /** [rows, 77, D]: with guidance the unconditional row first, then the prompt's; else the prompt's alone. */
  readonly encoder_hidden_states: Tensor;
  readonly warnings: readonly string[];
}

/** Prompts → what cross-attention reads. `guided`: classifier-free guidance needs the negative prompt's row too. */
export async function encodePrompts(
  model: LoadedModel,
  prompt: string,
  negativePrompt: string | null,
  guided: boolean,
): Promise<EncodedPrompts> {
  const texts = guided ? [negativePrompt ?? "", prompt] : [prompt];
  const tokenized = texts.map((text) => model.tokenizer.tokenIds(text));
  const length = model.clip.max_position_embeddings;
  const input_ids = BigInt64Array.from(
    tokenized.flatMap(({ ids }) => ids),
    BigInt,
  ); // [rows, 77]
  const pooling = new Float32Array(texts.length * length); // [rows, 1, 77]: no tower here has a projection to pool for
  const outputs = await model.run.text_encoder({
    input_ids: { dims: [texts.length, length], data: input_ids },
    pooling: { dims: [texts.length, 1, length], data: pooling },
  });
  return {
    encoder_hidden_states: outputs[`normed_${model.clip.num_hidden_layers}`]!,
    warnings: tokenized.flatMap(({ truncated }) =>
      truncated === null ? [] : [`a prompt is longer than the text encoder reads; cut off: "${truncated}"`],
    ),
  };
}
