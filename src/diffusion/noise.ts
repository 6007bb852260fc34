/**
 * torch.randn of a CPU generator, draw for draw: MT19937 and torch's two ways to make normals of it.
 * Source: pytorch, ATen/core/MT19937RNGEngine.h, ATen/core/DistributionsHelper.h, ATen/native/cpu/DistributionTemplates.h
 * (normal_fill, its AVX2 form) and ATen/native/cpu/avx_mathfun.h (log and sincos after Cephes, float32).
 */

import { MersenneTwister } from "../random/mersenne-twister.ts";

/** Where a generator is, as plain data: a generator made from it goes on with the same draws. */
export interface NoisePosition {
  /** 0 … 2⁵³ − 1; counts modulo 2³² */
  seed: number;
  /** 32-bit words drawn so far */
  drawn: number;
  /** the second normal of a pair, kept for the next small request */
  spare: number | null;
}

const f32 = Math.fround;
/**
 * Multiply-add with one rounding to float32: the product of two float32 is exact in a double. Where torch's build fuses
 * the two and where it does not was found by comparing bits.
 */
const fma = (a: number, b: number, c: number) => Math.fround(a * b + c);

const bits = new DataView(new ArrayBuffer(4));
const SQRT_HALF = f32(Math.SQRT1_2);
const LOG_P = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
].map(f32);
const LOG_Q1 = f32(-2.1219444e-4);
const LOG_Q2 = f32(0.693359375);

/** Natural logarithm of a float32 in (0, 1]. */
function log(value: number): number {
  bits.setFloat32(0, value);
  const word = bits.getUint32(0);
  let e = (word >>> 23) - 126;
  bits.setUint32(0, (word & 0x007fffff) | 0x3f000000);
  let x = bits.getFloat32(0); // fraction in [0.5, 1)
  if (x < SQRT_HALF) {
    e -= 1;
    x = f32(f32(x - 1) + x);
  } else {
    x = f32(x - 1);
  }
  const z = f32(x * x);
  let y = LOG_P[0]!;
  for (let i = 1; i < LOG_P.length; i++) y = fma(y, x, LOG_P[i]!);
  y = fma(f32(y * x), z, f32(e * LOG_Q1));
  y = fma(-0.5, z, y);
  return fma(e, LOG_Q2, f32(x + y));
}

const FOUR_OVER_PI = f32(4 / Math.PI);
const DP1 = f32(-0.78515625);
const DP2 = f32(-2.4187564849853516e-4);
const DP3 = f32(-3.774894977445941e-8);
const SIN_P = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1].map(f32) as [number, number, number];
const COS_P = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2].map(f32) as [number, number, number];

/** Sine and cosine of a float32 angle that is not negative. */
function sincos(angle: number): [sin: number, cos: number] {
  const octant = (Math.trunc(f32(angle * FOUR_OVER_PI)) + 1) & ~1;
  const x = fma(octant, DP3, fma(octant, DP2, fma(octant, DP1, angle)));
  const z = f32(x * x);
  const c = fma(fma(COS_P[0], z, COS_P[1]), z, COS_P[2]);
  const cos = f32(fma(f32(c * z), z, -0.5 * z) + 1);
  const s = fma(fma(SIN_P[0], z, SIN_P[1]), z, SIN_P[2]);
  const sin = fma(f32(s * z), x, x);
  const swapped = (octant & 2) !== 0;
  return [(swapped ? cos : sin) * (octant & 4 ? -1 : 1), (swapped ? sin : cos) * ((octant - 2) & 4 ? 1 : -1)];
}

const TWO_PI = f32(2 * Math.PI);

/** Box-Muller over 16 uniforms in place: the first eight give radii, the last eight angles. */
function normal16(block: Float32Array): void {
  for (let k = 0; k < 8; k++) {
    const radius = f32(Math.sqrt(f32(-2 * log(f32(1 - block[k]!)))));
    const [sin, cos] = sincos(f32(TWO_PI * block[k + 8]!));
    block[k] = radius * cos;
    block[k + 8] = radius * sin;
  }
}

/** A torch CPU generator, seeded with `torch.Generator().manual_seed(seed)`. */
export class NoiseGenerator {
  /** made at the first draw: a sampler that draws nothing does not pay for it */
  #words: MersenneTwister | null = null;
  readonly #seed: number;
  #drawn = 0;
  #spare: number | null = null;

  /** From a seed (0 … 2⁵³ − 1), or to go on from where another generator was. */
  constructor(from: number | NoisePosition) {
    const { seed, drawn, spare } = typeof from === "number" ? { seed: from, drawn: 0, spare: null } : from;
    this.#seed = seed;
    this.#drawn = drawn;
    this.#spare = spare;
  }

  get position(): NoisePosition {
    return { seed: this.#seed, drawn: this.#drawn, spare: this.#spare };
  }

  #word(): number {
    if (this.#words === null) {
      this.#words = new MersenneTwister(this.#seed % 2 ** 32);
      this.#words.skip(this.#drawn);
    }
    this.#drawn++;
    return this.#words.word();
  }

  /** torch.rand(count), float32 in [0, 1). */
  uniform(count: number): Float32Array {
    return new Float32Array(count).map(() => (this.#word() & 0xffffff) / 2 ** 24);
  }

  #uniform53(): number {
    const high = this.#word();
    return ((high & 0x1fffff) * 2 ** 32 + this.#word()) / 2 ** 53;
  }

  #smallNormal(): number {
    if (this.#spare !== null) {
      const spare = this.#spare;
      this.#spare = null;
      return spare;
    }
    const angle = 2 * Math.PI * this.#uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-this.#uniform53()));
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** torch.randn(count), float32. Below 16 values torch draws doubles in pairs, from 16 on float32 in blocks of 16. */
  normal(count: number): Float32Array {
    if (count < 16) return new Float32Array(count).map(() => this.#smallNormal());
    const values = this.uniform(count);
    for (let i = 0; i + 16 <= count; i += 16) normal16(values.subarray(i, i + 16));
    // A last block that is not full is drawn anew over the last 16 values.
    if (count % 16 !== 0) {
      const tail = values.subarray(count - 16);
      tail.set(this.uniform(16));
      normal16(tail);
    }
    return values;
  }
}
