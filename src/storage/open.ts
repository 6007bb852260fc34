import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { DiskStorage } from "./disk.ts";
import type { Storage } from "./storage.ts";

/** The storage of this installation: a folder in DATA_DIR, which a fleet shares. */
export function openStorage({ DATA_DIR }: Pick<Config, "DATA_DIR">): Storage {
  return new DiskStorage(join(DATA_DIR, "artifacts"));
}
