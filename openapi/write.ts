/** Writes openapi/openapi.json anew: `npm run openapi`. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openApiDocument } from "./document.ts";

await writeFile(join(import.meta.dirname, "openapi.json"), await openApiDocument());
