/** The index that stands for `i` beyond 0 … length - 1: mirrored at the outermost pixel, which is not repeated (OpenCV's BORDER_REFLECT_101). */
export function reflect(i: number, length: number): number {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = ((i % period) + period) % period;
  return inside < length ? inside : period - inside;
}
