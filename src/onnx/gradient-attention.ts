import { add, matmul, mul, reduceSum, reshape, scale, softmax, sub, transpose } from "./operators.ts";
import type { Node, Value } from "./value.ts";

/**
 * Gradients of MultiHeadAttention toward q [B, T, C], k and v [B, S, C]. The attention weights are computed again: kept from
 * the forward pass, they would be its largest tensors.
 */
export function attentionGradients(
  { attributes, inputs }: Node,
  gradient: Value,
  [q, k, v]: readonly Value[],
): (Value | null)[] {
  const heads = attributes.num_heads as number;
  const [batch, , channels] = q!.shape as number[];
  const size = channels! / heads;
  const apart = (x: Value) => transpose(reshape(x, [batch!, x.shape[1] as number, heads, size]), [0, 2, 1, 3]);
  const joined = (x: Value) => reshape(transpose(x, [0, 2, 1, 3]), [batch!, x.shape[2] as number, channels!]);
  const flip = (x: Value) => transpose(x, [0, 1, 3, 2]);

  const [query, key, value, out] = [q!, k!, v!, gradient].map(apart) as [Value, Value, Value, Value]; // [B, heads, T, size]
  const factor = 1 / Math.sqrt(size);
  const scores = matmul(scale(query, factor), flip(key)); // [B, heads, T, S]
  const mask = inputs[5] ?? null;
  const weights = softmax(mask === null ? scores : add(scores, mask));
  const toWeights = mul(weights, matmul(out, flip(value)));
  const toScores = sub(toWeights, mul(weights, reduceSum(toWeights, [3])));
  return [
    joined(scale(matmul(toScores, key), factor)),
    joined(scale(matmul(flip(toScores), query), factor)),
    joined(matmul(flip(weights), out)),
  ];
}
