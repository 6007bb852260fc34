/** What a cell of a map is: white ones at the edge of what is white are the rim; the frame around the map fits every pattern. */
const [BLACK, WHITE, BEYOND, RIM] = [0, 1, 2, 3];
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
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, p++, i++) cells[i] = map[p]! > 127 ? WHITE : BLACK;
  const steps = [-stride - 1, -stride, -stride + 1, -1, 0, 1, stride - 1, stride, stride + 1];
  const rim = outermost(cells, steps);
  for (let round = 0; round < ROUNDS; round++) {
    let gone = 0;
    for (const pattern of THINNING) gone += remove(cells, steps, rim, pattern);
    if (gone === 0) break;
  }
  if (prune) for (const pattern of PRUNING) remove(cells, steps, rim, pattern);
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, p++, i++) map[p] = cells[i] === BLACK ? 0 : 255;
}

/** The white cells beside a black one or the frame: every pattern has a black neighbor, so that no other can go. */
function outermost(cells: Uint8Array, steps: readonly number[]): number[] {
  const rim: number[] = [];
  for (let i = 0; i < cells.length; i++)
    if (cells[i] === WHITE && steps.some((step) => cells[i + step] === BLACK || cells[i + step] === BEYOND)) {
      cells[i] = RIM;
      rim.push(i);
    }
  return rim;
}

/** Blackens the white cells that fit the pattern, and puts their neighbors for them into the rim; gives how many they were. */
function remove(cells: Uint8Array, steps: readonly number[], rim: number[], { white, black }: Pattern): number {
  const under = (mask: number) => Int32Array.from(steps.filter((_, bit) => mask & (1 << bit)));
  const [mustBeWhite, mustBeBlack] = [under(white), under(black)];
  const fits = (i: number) => {
    for (let k = 0; k < mustBeBlack.length; k++) {
      const cell = cells[i + mustBeBlack[k]!];
      if (cell === WHITE || cell === RIM) return false;
    }
    for (let k = 0; k < mustBeWhite.length; k++) if (cells[i + mustBeWhite[k]!] === BLACK) return false;
    return true;
  };
  const gone: number[] = [];
  let kept = 0;
  for (const i of rim) {
    if (fits(i)) gone.push(i);
    else rim[kept++] = i;
  }
  rim.length = kept;
  for (const i of gone) cells[i] = BLACK;
  for (const i of gone)
    for (const step of steps)
      if (cells[i + step] === WHITE) {
        cells[i + step] = RIM;
        rim.push(i + step);
      }
  return gone.length;
}
