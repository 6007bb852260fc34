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
  output: Value,
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
  // Σ_s weights·toWeights is Σ_c gradient·output (Dao et al. 2022, arXiv 2205.14135, appendix B.2): no pass over [T, S].
  const perHead = reshape(mul(gradient, output), [batch!, q!.shape[1] as number, heads, size]);
  const average = transpose(reduceSum(perHead, [3]), [0, 2, 1, 3]); // [B, heads, T, 1]
  const toScores = mul(weights, sub(matmul(out, flip(value)), average));
  // (xᵀ·y)ᵀ for yᵀ·x: the large matrix stays as it lies.
  return [
    joined(scale(matmul(toScores, key), factor)),
    joined(flip(scale(matmul(flip(query), toScores), factor))),
    joined(flip(matmul(flip(out), weights))),
  ];
}
