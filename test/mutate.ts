/** Repeatable chance for a seed: 0 … 1. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A good file made bad: bytes changed, flipped, taken out, put in, copied, or the end cut off, one to four times. */
export function mutated(good: Uint8Array, seed: number): Uint8Array {
  const next = chance(seed);
  const below = (end: number) => Math.floor(next() * end);
  let file = [...good];
  const ways = [
    (at: number) => (file[at] = below(256)),
    (at: number) => (file[at] = file[at]! ^ (1 << below(8))),
    (at: number) => file.splice(at, 1 + below(8)),
    (at: number) => file.splice(at, 0, ...Array.from({ length: 1 + below(8) }, () => below(256))),
    (at: number) => (file = file.slice(0, Math.max(at, 1))),
    (at: number) => file.splice(at, below(32), ...file.slice(below(file.length)).slice(0, below(32))),
  ];
  for (let count = 1 + below(4); count > 0; count--) ways[below(ways.length)]!(below(file.length));
  return Uint8Array.from(file);
}
