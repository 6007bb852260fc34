/** torch's bicubic interpolation of one plane, without antialiasing and with align_corners false (a = -0.75, edges repeated). */

const A = -0.75;
const near = (x: number) => ((A + 2) * x - (A + 3)) * x * x + 1; // |x| ≤ 1
const far = (x: number) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A; // 1 < |x| < 2

/** For each output of an axis, where its four inputs begin and their weights. */
function taps(from: number, to: number): { first: number; weights: number[] }[] {
  return Array.from({ length: to }, (_, i) => {
    const at = ((i + 0.5) * from) / to - 0.5;
    const floor = Math.floor(at);
    const t = at - floor;
    return { first: floor - 1, weights: [far(t + 1), near(t), near(1 - t), far(2 - t)] };
  });
}

/** [height, width] → [rows, columns]. */
export function bicubic(
  data: ArrayLike<number>,
  height: number,
  width: number,
  rows: number,
  columns: number,
): Float32Array {
  const clamp = (i: number, size: number) => Math.min(Math.max(i, 0), size - 1);
  const across = taps(width, columns);
  return Float32Array.from(
    taps(height, rows).flatMap(({ first: y, weights: down }) =>
      across.map(({ first: x, weights: along }) => {
        let sum = 0;
        for (const [j, weight] of down.entries()) {
          const row = clamp(y + j, height) * width;
          for (const [i, factor] of along.entries()) sum += weight * factor * data[row + clamp(x + i, width)]!;
        }
        return sum;
      }),
    ),
  );
}
