/** A WebP as the C2PA library takes files: the manifest is a RIFF chunk "C2PA" at the end (C2PA specification 2.1, A.3.7). */
import type { Asset } from "@trustnxt/c2pa-ts/asset";

const FOURCC = "C2PA";
/** RIFF, the size of what follows, WEBP. */
const FILE_HEAD = 12;
/** A chunk's name and size. */
const HEAD = 8;
const even = (size: number) => size + (size & 1);

export class WebP implements Asset {
  readonly mimeType = "image/webp";
  #file: Buffer;

  constructor(file: Uint8Array) {
    this.#file = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  }

  /** Where the manifest's chunk begins, and how many bytes it holds; null = there is none. */
  #chunk(): { start: number; size: number } | null {
    for (let at = FILE_HEAD; at + HEAD <= this.#file.length; ) {
      const size = this.#file.readUInt32LE(at + 4);
      if (this.#file.toString("latin1", at, at + 4) === FOURCC) return { start: at, size };
      at += HEAD + even(size);
    }
    return null;
  }

  getDataLength(): number {
    return this.#file.length;
  }

  async getDataRange(start = 0, length = this.#file.length - start): Promise<Uint8Array> {
    return this.#file.subarray(start, start + length);
  }

  getManifestJUMBF(): Uint8Array | undefined {
    const chunk = this.#chunk();
    return chunk === null ? undefined : this.#file.subarray(chunk.start + HEAD, chunk.start + HEAD + chunk.size);
  }

  dumpInfo(): string {
    return `WebP file of ${this.#file.length} bytes`;
  }

  /** Appends a chunk: the files that are signed here have none yet. */
  async ensureManifestSpace(length: number): Promise<void> {
    if (this.#chunk() !== null) throw new Error("the WebP has a manifest already");
    const head = Buffer.alloc(HEAD);
    head.write(FOURCC, "latin1");
    head.writeUInt32LE(length, 4);
    this.#file = Buffer.concat([this.#file, head, Buffer.alloc(even(length))]);
    this.#file.writeUInt32LE(this.#file.length - HEAD, 4);
  }

  getHashExclusionRange(): { start: number; length: number } {
    const { start, size } = this.#chunk()!;
    return { start, length: HEAD + even(size) };
  }

  async writeManifestJUMBF(jumbf: Uint8Array): Promise<void> {
    const { start, size } = this.#chunk()!;
    if (size !== jumbf.length) throw new Error(`the WebP has room for ${size} bytes, the manifest has ${jumbf.length}`);
    this.#file.set(jumbf, start + HEAD);
  }
}
