import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { check } from "../../check/samplers.ts";
import { NoiseGenerator } from "../../src/diffusion/noise.ts";
import { createSampler, type DrawNoise, type Sampler, StepCountError } from "../../src/diffusion/samplers.ts";
import { evaluationsOf, SCHEDULER_FACTS, SCHEDULERS, type SchedulerName } from "../../src/schema/schedulers.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const SD = JSON.parse(readFileSync(join(fixtures, "sd15/base/scheduler/scheduler_config.json"), "utf8"));
const EDM = { _class_name: "EDMEulerScheduler" };
/** A config that a scheduler works with. */
const configOf = (name: SchedulerName) => (SCHEDULER_FACTS[name].noise === "edm" ? EDM : SD);
/** A sampler that draws noise wherever its scheduler can. */
const create = (name: SchedulerName, steps: number, strength = 1) =>
  createSampler(name, configOf(name), steps, { strength, eta: SCHEDULER_FACTS[name].fields.includes("eta") ? 0.3 : 0 });
const isStochastic = (name: SchedulerName) =>
  SCHEDULER_FACTS[name].stochastic || SCHEDULER_FACTS[name].fields.includes("eta");
/** What an EDM network that knows the clean image answers (arXiv 2206.00364, equation 7, σ_data 0.5). */
function edmOutput(clean: Float32Array, latents: Float32Array, timestep: number): Float32Array {
  const sigma = Math.exp(4 * timestep);
  const variance = sigma ** 2 + 0.25;
  return clean.map((x, k) => ((x - (0.25 / variance) * latents[k]!) * Math.sqrt(variance)) / (0.5 * sigma));
}
/** Entries of the schedule for a step that image-to-image may leave out. */
const perStep = (name: SchedulerName) => (SCHEDULER_FACTS[name].evaluations === "2n-1" ? 2 : 1);

const noNoise: DrawNoise = () => assert.fail("no noise should be drawn");
const network = (input: Float32Array, t: number) => input.map((x) => Math.tanh(0.7 * x + t / 1000));

/** Latents after every evaluation. `between` is done to the state each time. */
function run(sampler: Sampler, between = <T>(state: T): T => state): Float32Array[] {
  let noise = new NoiseGenerator(1);
  let state = sampler.start(noise.normal(64).map((x) => x * sampler.initNoiseSigma));
  return sampler.timesteps.map((t) => {
    const output = network(sampler.input(state), t);
    state = between(sampler.next(state, output, (count) => noise.normal(count)));
    noise = new NoiseGenerator(between(noise.position));
    return state.latents;
  });
}

suite("samplers", () => {
  for (const name of ["samplers", "samplers2", "schedules"]) {
    test(`walk diffusers' trajectories: ${name}`, async () => {
      const findings = await check(fixtures, name);
      assert.ok(findings.length >= 48);
      const short = findings.filter(({ error, bound }) => !(error <= bound));
      assert.deepEqual(short, []);
      // What is not at the limit of float32 is far better than the bound.
      const worst = findings.filter(({ bound, subject }) => bound === 1e-4 && !/cosine|zero_snr/.test(subject));
      for (const { subject, error } of worst) assert.ok(error < 2e-5, `${subject}: ${error}`);
    });
  }

  for (const name of SCHEDULERS) {
    test(`${name} goes on to the same bytes from a state that was written out and read back`, () => {
      const sampler = create(name, 6);
      const again = create(name, 6, 1);
      assert.deepEqual(run(again, structuredClone), run(sampler));
    });

    test(`${name} leaves the state it is given, and the output, as they are`, () => {
      const sampler = create(name, 6);
      const noise = new NoiseGenerator(1);
      let state = sampler.start(noise.normal(64));
      for (const t of sampler.timesteps) {
        const output = network(sampler.input(state), t);
        const before = structuredClone({ state, output });
        const next = sampler.next(state, output, (count) => noise.normal(count));
        sampler.denoised(state, output);
        assert.deepEqual({ state, output }, before);
        assert.equal(next.step, state.step + 1);
        state = next;
      }
    });

    test(`${name} counts network evaluations`, () => {
      const sampler = create(name, 10);
      assert.equal(sampler.total, evaluationsOf(name, 10));
      assert.equal(sampler.timesteps.length, sampler.total);
    });

    test(`${name} ${isStochastic(name) ? "draws the latents' size of" : "needs no"} noise`, () => {
      const sampler = create(name, 4);
      const drawn: number[] = [];
      const draw: DrawNoise = (count) => {
        drawn.push(count);
        return new Float32Array(count);
      };
      // The first step: one evaluation, or two.
      let state = sampler.start(new NoiseGenerator(1).normal(64));
      for (let i = 0; i < perStep(name); i++)
        state = sampler.next(state, state.latents, isStochastic(name) ? draw : noNoise);
      assert.ok(drawn.length >= (isStochastic(name) ? 1 : 0));
      assert.ok(drawn.every((count) => count === 64));
    });

    test(`${name} finds the clean image behind noise that the network knows`, () => {
      const sampler = create(name, 6);
      const clean = Float32Array.from({ length: 64 }, (_, k) => Math.sin(k));
      const noise = new NoiseGenerator(2).normal(64);
      // With the true noise as every output, each step stays on the line between image and noise.
      let state = sampler.start(sampler.addNoise(clean, noise, 0));
      for (let i = 0; i < sampler.total; i++) {
        const output = configOf(name) === EDM ? edmOutput(clean, state.latents, sampler.timesteps[i]!) : noise;
        const denoised = sampler.denoised(state, output);
        if (!isStochastic(name) || i === 0) {
          for (const [k, x] of denoised.entries()) assert.ok(Math.abs(x - clean[k]!) < 2e-3, `evaluation ${i}: ${x}`);
        }
        state = sampler.next(state, output, (count) => new Float32Array(count));
      }
    });

    test(`${name} skips the first steps for a strength, as many as diffusers`, () => {
      const whole = create(name, 10);
      const part = create(name, 10, 0.55);
      const skipped = 5 * perStep(name); // int(10 · 0.55) of 10 steps are left
      assert.deepEqual(part.timesteps, whole.timesteps.slice(skipped));
      const [clean, noise] = [new Float32Array(64).fill(0.5), new NoiseGenerator(3).normal(64)];
      assert.deepEqual(part.addNoise(clean, noise, 0), whole.addNoise(clean, noise, skipped));
      assert.ok(run(part).every((latents) => latents.every(Number.isFinite)));
      assert.throws(() => create(name, 10, 0.09), StepCountError);
    });

    test(`${name} stays finite for 1, 2, 3 and 50 steps`, () => {
      for (const steps of [1, 2, 3, 50]) {
        const latents = run(create(name, steps)).at(-1)!;
        assert.ok(latents.every(Number.isFinite), `${steps} steps`);
      }
    });
  }

  test("pndm takes no Runge-Kutta steps, whatever a config says", () => {
    assert.equal(createSampler("pndm", { ...SD, skip_prk_steps: false }, 10).total, 11);
    const { skip_prk_steps: _, ...silent } = SD as Record<string, unknown>;
    assert.equal(createSampler("pndm", silent, 1).total, 1);
  });

  for (const name of ["ddim", "tcd"] as const) {
    test(`${name} needs no noise at eta 0`, () => {
      const sampler = createSampler(name, SD, 4);
      sampler.next(sampler.start(new NoiseGenerator(1).normal(64)), new Float32Array(64), noNoise);
    });
  }

  test("lcm refuses more steps than it was distilled from", () => {
    assert.throws(() => createSampler("lcm", SD, 51), /lcm takes 50 of this model at most/);
    assert.throws(() => createSampler("ddim", SD, 1001), StepCountError);
  });

  test("pictures do not know of each other: same seed, same bytes", () => {
    const sampler = createSampler("euler_ancestral", SD, 5);
    const alone = run(sampler);
    run(sampler);
    assert.deepEqual(run(sampler), alone);
  });
});
