/** Scaled dot-product attention of several heads, in two forms. */
import { add, matmul, reshape, scale, softmax, transpose } from "./operators.ts";
import { node, ShapeError, sameShape, show, type Value } from "./value.ts";

/** softmax(q·kᵀ/√d + mask)·v per head; q [B, T, C], k and v [B, S, C]; mask broadcasts to [B, heads, T, S]. */
export function attention(q: Value, k: Value, v: Value, heads: number, mask: Value | null = null): Value {
  if (!sameShape(k.shape, v.shape) || q.shape[2] !== k.shape[2] || (q.shape[2] as number) % heads !== 0) {
    throw new ShapeError(
      `Attention: ${show(q.shape)}, ${show(k.shape)}, ${show(v.shape)} in ${heads} heads do not fit`,
    );
  }
  return node("MultiHeadAttention", [q, k, v, null, null, mask], q.shape, {
    domain: "com.microsoft",
    attributes: { num_heads: heads },
  });
}

/** The same as `attention`, in operators that every runtime has. */
export function plainAttention(q: Value, k: Value, v: Value, heads: number, mask: Value | null = null): Value {
  const size = (q.shape[2] as number) / heads;
  const apart = (x: Value, perm: readonly number[]) =>
    transpose(reshape(x, [x.shape[0]!, x.shape[1]!, heads, size]), perm);
  const scores = matmul(apart(scale(q, 1 / Math.sqrt(size)), [0, 2, 1, 3]), apart(k, [0, 2, 3, 1])); // [B, heads, T, S]
  const weights = softmax(mask === null ? scores : add(scores, mask));
  const mixed = transpose(matmul(weights, apart(v, [0, 2, 1, 3])), [0, 2, 1, 3]); // [B, T, heads, size]
  return reshape(mixed, q.shape, q);
}
