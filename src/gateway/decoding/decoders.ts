import { type ChildProcess, fork } from "node:child_process";
import { ImageError } from "../../image/image-error.ts";
import type { Bounds } from "../bounds.ts";
import { Places } from "../places.ts";
import type { FromDecoder, MakerName, Task, ToDecoder } from "./messages.ts";

/** Processes that decode: as many images at once. A large one takes 200 MB meanwhile. */
const DECODERS = 2;
/** One image of an owner is decoded, then one of each other's, and one process always serves the others. */
const OF_OWNER = 1;

/** The processes that decode images for this gateway. Each is started when it is needed first, and again when it has ended. */
export class Decoders {
  readonly #bounds: Bounds;
  readonly #places = new Places(DECODERS, OF_OWNER);
  /** Those that decode nothing now. */
  readonly #free: ChildProcess[] = [];
  readonly #all = new Set<ChildProcess>();

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  /**
   * The size of an image that can be decoded.
   * @param mostPixels asked when its turn has come: of one with more the header alone is read
   * @param signal gives the wait for a turn up
   * @throws {ImageError}
   */
  async check(bytes: Uint8Array, mostPixels: () => number, owner: string, signal?: AbortSignal) {
    const check = () => this.#carryOut({ type: "check", mostPixels: mostPixels() }, bytes, "size");
    const { width, height } = await this.#places.take(owner, check, signal);
    return { width, height };
  }

  /** Something that is made of an image's pixels; null where there is nothing to make. @throws {ImageError} */
  async make(maker: MakerName, bytes: Uint8Array, owner: string, signal?: AbortSignal): Promise<Buffer | null> {
    const make = () => this.#carryOut({ type: "make", maker }, bytes, "made");
    const made = await this.#places.take(owner, make, signal);
    return made.bytes && Buffer.from(made.bytes);
  }

  async #carryOut<Type extends FromDecoder["type"]>(what: Task, bytes: Uint8Array, type: Type) {
    const { decodeCpuMs, decodeMs } = this.#bounds;
    const task: ToDecoder = { ...what, bytes, cpuMs: decodeCpuMs };
    let answer = await this.#ask(task);
    if (answer === "gone") answer = await this.#ask(task); // it may have ended before, as when memory ran out
    if (answer === "gone") throw new ImageError("the image cannot be decoded: it ends the decoder");
    if (answer.type === "late") {
      throw new ImageError(
        `decoding the image takes more than ${decodeCpuMs / 1000} s, or ${decodeMs / 1000} s when others compute`,
      );
    }
    if (answer.type === "refused") throw new ImageError(answer.message);
    if (answer.type !== type) throw new Error(`a decoder answers ${answer.type} instead of ${type}`);
    return answer as Extract<FromDecoder, { type: Type }>;
  }

  async #ask(task: ToDecoder): Promise<FromDecoder | "gone"> {
    const decoder = this.#free.pop() ?? this.#start();
    const { promise, resolve } = Promise.withResolvers<FromDecoder | "gone">();
    const late = setTimeout(() => resolve({ type: "late" }), this.#bounds.decodeMs);
    const gone = () => resolve("gone");
    decoder.once("message", resolve).once("exit", gone);
    decoder.channel?.ref();
    decoder.send(task, () => {}); // that it is gone, its exit says
    const answer = await promise;
    clearTimeout(late);
    decoder.off("message", resolve).off("exit", gone);
    decoder.channel?.unref();
    if (answer === "gone") this.#all.delete(decoder);
    else if (answer.type === "late") this.#end(decoder);
    else this.#free.push(decoder);
    return answer;
  }

  #end(decoder: ChildProcess): void {
    this.#all.delete(decoder);
    decoder.kill("SIGKILL");
  }

  #start(): ChildProcess {
    const decoder = fork(new URL("process.ts", import.meta.url), {
      env: { MALLOC_ARENA_MAX: "2" }, // nothing of the gateway's; what glibc keeps for each thread is not given back
      execArgv: [],
      serialization: "advanced", // bytes as bytes
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#all.add(decoder);
    decoder.on("error", () => {}); // its exit is what counts
    decoder.once("exit", () => {
      this.#all.delete(decoder);
      if (this.#free.includes(decoder)) this.#free.splice(this.#free.indexOf(decoder), 1);
    });
    decoder.unref();
    return decoder;
  }

  /** Ends the processes, and what they decode. */
  close(): void {
    for (const decoder of this.#all) this.#end(decoder);
  }
}
