#!/usr/bin/env node
/** `npm run png-info -- FILE` prints the request that makes a picture again, from the picture itself, as `POST /v1/generations` takes it. */
import { readFileSync } from "node:fs";
import { readProvenance } from "./src/image/provenance.ts";

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error("usage: npm run --silent png-info -- FILE.png (or .jpg, .webp)");
  process.exit(2);
}
try {
  const { digitalSourceType, request } = await readProvenance(readFileSync(file));
  if (request === null) {
    console.error(`${file} has no request in it; its digital source type: ${digitalSourceType ?? "none"}`);
    process.exit(1);
  }
  console.log(JSON.stringify(request, null, 2));
} catch (error) {
  console.error(`${file}: ${(error as Error).message}`);
  process.exit(1);
}
