/** What a cell of a map is; the frame around the map fits every pattern. */
const [BLACK, WHITE, BEYOND] = [0, 1, 2];
const ROUNDS = 32;

/** Neighbours, as bits, that must be white or black for the pixel between them to go. */
interface Pattern {
  readonly white: number;
  readonly black: number;
}

// Rows from the top: 1 must be white, 0 black, a dot may be either.
const THINNING = inFourTurns("000.1.111", ".00110.1.");
const PRUNING = inFourTurns("000010..0", "0000100..");

function inFourTurns(...patterns: string[]): Pattern[] {
  const turn = (cells: string) => [2, 5, 8, 1, 4, 7, 0, 3, 6].map((i) => cells[i]).join("");
  const bits = (cells: string, cell: string) =>
    [...cells].reduce((mask, found, i) => (i !== 4 && found === cell ? mask | (1 << i) : mask), 0);
  const pattern = (cells: string) => ({ white: bits(cells, "1"), black: bits(cells, "0") });
  const found: Pattern[] = [];
  for (let turns = 0, turned = patterns; turns < 4; turns++, turned = turned.map(turn))
    found.push(...turned.map(pattern));
  return found;
}

/**
 * Lines thinned to one pixel: white pixels whose neighbours fit a pattern become black, one pattern and turn after the other, all
 * of a pattern's at once, until nothing changes or for 32 rounds. With `prune`, ends of lines then lose a pixel.
 * The patterns are Golay's L and the usual ones for pruning (Fisher et al., "HIPR2", Thinning and Pruning), in the order of
 * Mikubill/sd-webui-controlnet `lvmin_thin`.
 * @param map [height, width], 0 or 255; changed in place
 */
export function thin(map: Uint8Array, width: number, height: number, prune: boolean): void {
  const stride = width + 2;
  const cells = new Uint8Array(stride * (height + 2)).fill(BEYOND);
  const whites = new Uint32Array(map.reduce((count, level) => count + (level > 127 ? 1 : 0), 0));
  for (let y = 0, p = 0, n = 0; y < height; y++)
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, p++, i++) {
      cells[i] = map[p]! > 127 ? WHITE : BLACK;
      if (cells[i] === WHITE) whites[n++] = i;
    }
  let left: Uint32Array = whites;
  for (let round = 0; round < ROUNDS; round++) {
    const before = left.length;
    for (const pattern of THINNING) left = remove(cells, stride, left, pattern);
    if (left.length === before) break;
  }
  if (prune) for (const pattern of PRUNING) left = remove(cells, stride, left, pattern);
  map.fill(0);
  for (const i of left) map[(Math.floor(i / stride) - 1) * width + (i % stride) - 1] = 255;
}

/** Blackens the white cells that fit the pattern; gives those that are left. */
function remove(cells: Uint8Array, stride: number, whites: Uint32Array, { white, black }: Pattern): Uint32Array {
  const steps = [-stride - 1, -stride, -stride + 1, -1, 0, 1, stride - 1, stride, stride + 1];
  const all = steps.map((step, bit) => ({ step, bit }));
  const [mustBeWhite, mustBeBlack] = [white, black].map((mask) =>
    Int32Array.from(all.filter(({ bit }) => mask & (1 << bit)).map(({ step }) => step)),
  ) as [Int32Array, Int32Array];
  const fits = (i: number) => {
    for (let k = 0; k < mustBeBlack.length; k++) if (cells[i + mustBeBlack[k]!] === WHITE) return false;
    for (let k = 0; k < mustBeWhite.length; k++) if (cells[i + mustBeWhite[k]!] === BLACK) return false;
    return true;
  };
  const kept = new Uint32Array(whites.length);
  const gone = new Uint32Array(whites.length);
  let [keptCount, goneCount] = [0, 0];
  for (const i of whites) {
    if (fits(i)) gone[goneCount++] = i;
    else kept[keptCount++] = i;
  }
  for (let k = 0; k < goneCount; k++) cells[gone[k]!] = BLACK;
  return kept.subarray(0, keptCount);
}
