/** The file of a generation's picture: encoded, with what it says of itself, and signed where a certificate is given. */
import { readFile } from "node:fs/promises";
import type { Config } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { encodeImage } from "../../src/image/encode.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { xmpOf } from "../../src/image/provenance.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";

/** What pictures say of themselves, and by whose certificate. */
export type FileSettings = Pick<Config, "PROVENANCE" | "C2PA_CERT" | "C2PA_KEY">;

/** Makes the file of a request's picture `index`. */
export type MakeFile = (pixels: Pixels, request: GenerationRequest, index: number) => Promise<Uint8Array>;

const read = (name: string, path: string) =>
  readFile(path, "utf8").catch((error) => {
    throw new Error(`${name}=${path}: it cannot be read (${error.code})`);
  });

/** @throws {ConfigError} when there is a certificate and pictures cannot be signed with it */
export async function openFiles({ PROVENANCE, C2PA_CERT, C2PA_KEY }: FileSettings): Promise<MakeFile> {
  const encode = (pixels: Pixels, request: GenerationRequest, index: number) =>
    encodeImage(pixels, request.output_format, xmpOf(PROVENANCE, request, index));
  if (C2PA_CERT === undefined || C2PA_KEY === undefined) return encode;
  try {
    const { openSigner } = await import("../../src/image/c2pa/sign.ts"); // some megabytes that others have no use for
    const certificate = await read("C2PA_CERT", C2PA_CERT);
    const sign = await openSigner({ certificate, key: await read("C2PA_KEY", C2PA_KEY) });
    return async (pixels, request, index) => sign(await encode(pixels, request, index), request.output_format);
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}
