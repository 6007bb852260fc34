/** Files that are to be read, which may be anything: opening a pipe waits for who writes into it, and a device has no end. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { basename } from "node:path";
import { CheckpointError } from "./safetensors.ts";

/** A descriptor of a file, and how many bytes it has. @throws CheckpointError for what is no file, such as a folder or a pipe */
export function openRegularFile(file: string): { descriptor: number; size: number } {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = fstatSync(descriptor);
  if (found.isFile()) return { descriptor, size: found.size };
  closeSync(descriptor);
  throw new CheckpointError(
    `${basename(file)} is no file, but a ${found.isDirectory() ? "folder" : "pipe or a device"}`,
  );
}
