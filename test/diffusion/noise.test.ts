import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { check } from "../../check/noise.ts";
import { NoiseGenerator } from "../../src/diffusion/noise.ts";

const fixtures = join(import.meta.dirname, "../fixtures");

suite("noise", () => {
  test("is torch.randn of a CPU generator, to the bit", async () => {
    const findings = await check(fixtures);
    assert.equal(findings.length, 21);
    for (const { subject, error } of findings) assert.equal(error, 0, subject);
  });

  test("has torch.rand's uniform draws exactly", () => {
    // torch.rand(4, generator=torch.Generator().manual_seed(42))
    const expected = [0.8822692632675171, 0.9150039553642273, 0.38286375999450684, 0.9593056440353394];
    assert.deepEqual([...new NoiseGenerator(42).uniform(4)], expected);
  });

  test("goes on with the same bytes from a position written out and read back, after any draw", () => {
    const sizes = [5, 100, 3, 16, 17, 1, 2, 33];
    const whole = new NoiseGenerator(7);
    let pieces = new NoiseGenerator(7);
    for (const size of sizes) {
      assert.deepEqual(pieces.normal(size), whole.normal(size), `${size} values`);
      pieces = new NoiseGenerator(JSON.parse(JSON.stringify(pieces.position)));
    }
  });

  test("keeps the second normal of a pair for the next small request, as torch does", () => {
    const generator = new NoiseGenerator(7);
    const [first] = generator.normal(1);
    const { drawn, spare } = generator.position;
    assert.equal(drawn, 4); // two doubles of two words each
    const [second] = generator.normal(1);
    assert.equal(second, Math.fround(spare!));
    assert.deepEqual(generator.position, { seed: 7, drawn: 4, spare: null });
    assert.deepEqual([first, second], [...new NoiseGenerator(7).normal(2)]);
  });

  test("takes a seed modulo 2³²", () => {
    assert.deepEqual(new NoiseGenerator(2 ** 32 * 5 + 7).normal(16), new NoiseGenerator(7).normal(16));
    assert.deepEqual(new NoiseGenerator(2 ** 53 - 1).normal(16), new NoiseGenerator(2 ** 32 - 1).normal(16));
    assert.notDeepEqual(new NoiseGenerator(8).normal(16), new NoiseGenerator(7).normal(16));
  });

  test("is taken up again after a million draws without drawing them", () => {
    const timed = (run: () => unknown) => {
      const start = performance.now();
      run();
      return performance.now() - start;
    };
    const generator = new NoiseGenerator(3);
    const drawn = timed(() => generator.normal(1_000_000));
    const { position } = generator;
    const again = () => new NoiseGenerator(position).normal(16);
    const took = Math.min(timed(again), timed(again), timed(again));
    assert.deepEqual(again(), generator.normal(16));
    assert.ok(took < drawn / 3, `${took} ms, to draw them ${drawn} ms`); // about a tenth
  });
});
