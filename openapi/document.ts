/** The OpenAPI document as text, as openapi/openapi.json holds it. */
import { pino } from "pino";
import { readConfig } from "../src/config/config.ts";
import { buildApp } from "../src/gateway/app.ts";
import type { Parts } from "../src/gateway/parts.ts";

export async function openApiDocument(): Promise<string> {
  const unused = undefined as never; // no route is called
  const parts: Parts = { config: readConfig({}), queue: unused, storage: unused, outbound: unused };
  const app = await buildApp(parts, pino({ level: "silent" }));
  await app.ready();
  return `${JSON.stringify(app.swagger(), null, 2)}\n`;
}
