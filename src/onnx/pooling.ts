import { shrink } from "./operators.ts";
import { node, type Value } from "./value.ts";

/** The mean of each 2×2 cells; a last row or column that is alone is its own. */
export function averagePool(x: Value): Value {
  const [batch, channels, height, width] = x.shape;
  return node("AveragePool", [x], [batch!, channels!, shrink(height!, 2), shrink(width!, 2)], {
    attributes: { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 },
  });
}
