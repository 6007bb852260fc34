/** Writes openapi/openapi.json anew, and the TypeScript client that is generated from it: `npm run openapi`. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateClient } from "../sdk/generate.ts";
import { openApiDocument } from "./document.ts";

await writeFile(join(import.meta.dirname, "openapi.json"), await openApiDocument());
await generateClient();
