import { words } from "./words.ts";

/** How many there are of each level; counted in two places in turn, because a count waits for the last one at its place. */
function histogram(levels: Uint8Array): Int32Array {
  const [counts, others] = [new Int32Array(256), new Int32Array(256)];
  const fours = words(levels);
  countFours(fours, counts, others);
  for (let p = 4 * fours.length; p < levels.length; p++) counts[levels[p]!]!++;
  return counts.map((count, i) => count + others[i]!);
}

// A function of its own, as the loops of grey-level.ts are.
function countFours(fours: Int32Array, counts: Int32Array, others: Int32Array): void {
  for (let k = 0; k < fours.length; k++) {
    const four = fours[k]!;
    counts[four & 255]!++;
    others[(four >> 8) & 255]!++;
    counts[(four >> 16) & 255]!++;
    others[four >>> 24]!++;
  }
}

/**
 * The level that best parts dark from light, 0 … 255: those above it are light. OpenCV's THRESH_OTSU, in its order of operations.
 * Source: Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979; opencv/opencv `modules/imgproc/src/thresh.cpp`.
 */
export function otsu(levels: Uint8Array): number {
  const counts = histogram(levels);
  const scale = 1 / levels.length;
  let mean = 0;
  for (let i = 0; i < 256; i++) mean += i * counts[i]!;
  mean *= scale;

  const LEAST = 2 ** -23;
  let [mean1, share1, best, found] = [0, 0, 0, 0];
  for (let i = 0; i < 256; i++) {
    const share = counts[i]! * scale;
    mean1 *= share1;
    share1 += share;
    const share2 = 1 - share1;
    if (Math.min(share1, share2) < LEAST || Math.max(share1, share2) > 1 - LEAST) continue;
    mean1 = (mean1 + i * share) / share1;
    const mean2 = (mean - share1 * mean1) / share2;
    const variance = share1 * share2 * (mean1 - mean2) * (mean1 - mean2);
    if (variance > best) [best, found] = [variance, i];
  }
  return found;
}
