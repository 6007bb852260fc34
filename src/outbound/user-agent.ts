/** What the service calls itself where it asks strangers: many refuse whoever does not say (Wikimedia, AWS' managed rules). */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const { name, version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as {
  name: string;
  version: string;
};

/** `User-Agent` (RFC 9110, 10.1.5): name, version, and where to read about it. */
export const userAgent = (publicUrl: string) => `${name}/${version} (+${publicUrl}/docs)`;
