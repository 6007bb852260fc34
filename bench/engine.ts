/** The real engine in a process of its own, whose time, memory and reading from the disk are watched from here. */
import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { on } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { encodeImage } from "../src/image/encode.ts";
import { GenerationRequest } from "../src/schema/generation-request.ts";
import type { Speed } from "../src/schema/speed.ts";
import { imageHash } from "../src/storage/keys.ts";
import { kill } from "../test/support/processes.ts";
import type { EngineSettings, FromEngine, ToEngine } from "../workers/generate/messages.ts";

/** A generation, by what sets it apart from the plainest one. */
export interface Wanted extends Partial<Speed> {
  readonly model: string;
  /** Pixels of width and of height. */
  readonly side: number;
  readonly num_inference_steps: number;
  readonly prompt?: string;
  readonly guidance_scale?: number;
  readonly guess_mode?: boolean;
  readonly controls?: readonly {
    readonly controlnet: string;
    /** Its image is stripes of so many pixels. */
    readonly stripes?: number;
    readonly conditioning_scale?: number;
    readonly control_guidance_end?: number;
    readonly control_type?: number;
  }[];
  readonly loras?: readonly { readonly lora: string }[];
  /** Their images are stripes. */
  readonly ip_adapters?: readonly { readonly ip_adapter: string }[];
}

/** A part of a generation, as it was seen from outside. */
export interface Stage {
  readonly seconds: number;
  /** Seconds of the processor, of all cores. */
  readonly cpuSeconds: number;
  /** The most private memory that the process had meanwhile. */
  readonly peakBytes: number;
  readonly readBytes: number;
}

export interface Made {
  readonly loadSeconds: number;
  readonly encodeSeconds: number;
  readonly denoiseSeconds: number;
  readonly decodeSeconds: number;
  /** Each evaluation of the networks; loading and encoding come before the end of the first one. */
  readonly evaluations: readonly Stage[];
  readonly decoding: Stage;
  /** The picture's SHA-256. */
  readonly sha256: string;
}

/** A generation from its sending to its picture. */
export function whole({ evaluations, decoding }: Made): Stage {
  return [...evaluations, decoding].reduce((one, other) => ({
    seconds: one.seconds + other.seconds,
    cpuSeconds: one.cpuSeconds + other.cpuSeconds,
    peakBytes: Math.max(one.peakBytes, other.peakBytes),
    readBytes: one.readBytes + other.readBytes,
  }));
}

const SAMPLING_MS = 50;
/** Of the processor, in a second in which nothing is done. */
const IDLE_SECONDS = 0.05;
/** More than the second after which an engine at rest makes ready what may come. */
const QUIET_SECONDS = 4;

async function stripesOf(side: number, pixels: number): Promise<Uint8Array> {
  const data = Uint8Array.from({ length: 3 * side * side }, (_, i) => ((i / 3) % (2 * pixels) < pixels ? 0 : 255));
  return encodeImage({ width: side, height: side, data }, "png");
}

export class Engine {
  readonly #child: ChildProcess;
  readonly #messages: AsyncIterator<FromEngine[]>;
  readonly #watch: NodeJS.Timeout;
  #stage = { start: performance.now(), cpuSeconds: 0, peakBytes: 0, readBytes: 0 };

  private constructor(settings: EngineSettings) {
    this.#child = fork(join(import.meta.dirname, "engine-process.ts"), [JSON.stringify(settings)], {
      serialization: "advanced",
    });
    this.#messages = on(this.#child, "message", { close: ["exit"] });
    this.#watch = setInterval(() => this.#sample(), SAMPLING_MS);
    this.#child.once("exit", () => clearInterval(this.#watch));
    // Where memory runs out, the kernel is to end this process and no other.
    writeFileSync(`/proc/${this.#child.pid}/oom_score_adj`, "1000");
  }

  /**
   * @param memoryBudget bytes of float32 weights; absent = the engine's own default
   * @param isOurs whether modelsDir was made by a bench: then all that it holds must be served
   */
  static async start(
    modelsDir: string,
    cacheDir: string,
    memoryBudget?: number,
    isOurs = true,
    precision: EngineSettings["precision"] = "float32",
  ): Promise<Engine> {
    const executionProvider = (process.env.EXECUTION_PROVIDER ?? "cpu") as EngineSettings["executionProvider"];
    const engine = new Engine({
      modelsDir,
      cacheDir,
      executionProvider,
      precision,
      files: { PROVENANCE: "full" },
      maxPixels: 2048 ** 2,
      ...(memoryBudget && { memoryBudget }),
    });
    const message = await engine.#next();
    if (isOurs && message.type === "catalog" && message.catalog.skipped.length > 0) {
      await engine[Symbol.asyncDispose]();
      throw new Error(JSON.stringify(message.catalog.skipped));
    }
    return engine;
  }

  /** Bytes by /proc's name: RssAnon is private, RssFile mapped and shared with whoever maps the same file. */
  memory(kind: "RssAnon" | "RssFile"): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return 1024 * Number(new RegExp(`${kind}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0);
  }

  /** Since the process began. */
  get #readBytes(): number {
    return Number(/read_bytes: (\d+)/.exec(readFileSync(`/proc/${this.#child.pid}/io`, "utf8"))![1]);
  }

  /** Since the process began: utime and stime of /proc, in hundredths of a second. */
  get #cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(stat[11]) + Number(stat[12])) / 100;
  }

  #sample(): void {
    this.#stage.peakBytes = Math.max(this.#stage.peakBytes, this.memory("RssAnon"));
  }

  #beginStage(): void {
    const [cpuSeconds, readBytes] = [this.#cpuSeconds, this.#readBytes];
    this.#stage = { start: performance.now(), cpuSeconds, peakBytes: this.memory("RssAnon"), readBytes };
  }

  #endStage(): Stage {
    this.#sample();
    const { start, cpuSeconds, peakBytes, readBytes } = this.#stage;
    const stage = {
      seconds: (performance.now() - start) / 1000,
      cpuSeconds: this.#cpuSeconds - cpuSeconds,
      peakBytes,
      readBytes: this.#readBytes - readBytes,
    };
    this.#beginStage();
    return stage;
  }

  /** @throws Error when the process has ended, as it does where memory runs out, or the generation has failed */
  async generate({ controls = [], ip_adapters = [], side, ...wanted }: Wanted): Promise<Made> {
    const images: Record<string, Uint8Array> = {};
    const imageOf = async (stripes: number) => {
      const image = await stripesOf(side, stripes);
      const hash = await imageHash(image);
      images[hash] = image;
      return { image: hash, mask: null };
    };
    const own: object[] = [];
    for (const { stripes = 24, ...control } of controls) own.push({ ...control, ...(await imageOf(stripes)) });
    const shown: object[] = [];
    for (const adapter of ip_adapters) shown.push({ ...adapter, ...(await imageOf(24)) });
    const request = GenerationRequest.parse({
      prompt: "a house",
      width: side,
      height: side,
      scheduler: "ddim",
      seed: 1,
      image: null,
      mask_image: null,
      strength: null,
      ...wanted,
      controls: own,
      ip_adapters: shown,
    });
    this.#child.send({ type: "generate", id: "bench", request, state: null, images, safety: "off" } satisfies ToEngine);
    this.#beginStage();
    const evaluations: Stage[] = [];
    for (;;) {
      const message = await this.#next();
      if (message.type === "progress") {
        evaluations.push(this.#endStage());
      } else if (message.type === "failed") {
        throw new Error(message.message);
      } else if (message.type === "done") {
        const { load_ms, encode_ms, denoise_ms, decode_ms } = message.metrics;
        return {
          loadSeconds: load_ms! / 1000,
          encodeSeconds: encode_ms! / 1000,
          denoiseSeconds: denoise_ms! / 1000,
          decodeSeconds: decode_ms! / 1000,
          evaluations,
          decoding: this.#endStage(),
          sha256: createHash("sha256").update(message.images[0]!.bytes).digest("hex"),
        };
      }
    }
  }

  /** Resolves when it makes nothing ready any more. */
  async rest(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_SECONDS; ) {
      const before = this.#cpuSeconds;
      await setTimeout(1000);
      quiet = this.#cpuSeconds - before < IDLE_SECONDS ? quiet + 1 : 0;
    }
  }

  /** What the engine says next; its warnings go to standard error. */
  async #next(): Promise<FromEngine> {
    for (;;) {
      const { value, done } = await this.#messages.next();
      if (done) {
        throw new Error(`the engine's process has ended: ${this.#child.signalCode ?? this.#child.exitCode}`);
      }
      const message = value[0]!;
      if (message.type !== "warning" && message.type !== "told") {
        return message;
      }
      console.error(message.message);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return kill(this.#child, "SIGTERM");
  }
}
