/** Half to even, as Python's `round`, NumPy's `rint` and OpenCV's `cvRound` do. */
export function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}
