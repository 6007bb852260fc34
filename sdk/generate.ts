/** Writes the generated part of the TypeScript client anew: `npm run sdk`. */
import { join } from "node:path";
import { createClient } from "@hey-api/openapi-ts";

const document = join(import.meta.dirname, "../openapi/openapi.json");

/** The client of openapi/openapi.json, into the folder `to`, which is emptied first. */
export async function generateClient(to = join(import.meta.dirname, "typescript/src/generated")): Promise<void> {
  const output = { path: to, module: { extension: ".ts" as const } };
  await createClient({ input: document, output, logs: { level: "silent", file: false } });
}

if (import.meta.main) await generateClient();
