/** What the mark in a picture costs: npm run bench provenance. */
import { openSigner } from "../src/image/c2pa/sign.ts";
import { encodeImage } from "../src/image/encode.ts";
import { xmpOf } from "../src/image/provenance.ts";
import { GenerationRequest, OutputFormat } from "../src/schema/generation-request.ts";
import { credential } from "../test/support/credential.ts";
import { median, printTable } from "./table.ts";

const SIDE = 512;
const TIMES = 15;

/** Milliseconds of a picture of 512² without any mark, with its request in it, and with that and a signed manifest, by turns. */
export async function run(): Promise<void> {
  const data = Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, i) => 128 + 90 * Math.sin(i / 700) + (i % 7));
  const rows: (string | number)[][] = [];
  const sign = await openSigner(await credential());
  for (const output_format of OutputFormat.options) {
    const request = GenerationRequest.parse({
      ...{ model: "sd15", prompt: "a house by a lake, autumn", width: SIDE, height: SIDE, scheduler: "ddim", seed: 7 },
      ...{ controls: [], image: null, mask_image: null, strength: null, output_format },
    });
    const [plain, marked, signed]: [number[], number[], number[]] = [[], [], []];
    let [bytes, more] = [0, 0];
    for (let i = 0; i < TIMES; i++) {
      const before = performance.now();
      const { length } = await encodeImage({ width: SIDE, height: SIDE, data }, output_format);
      const between = performance.now();
      const file = await encodeImage({ width: SIDE, height: SIDE, data }, output_format, xmpOf("full", request, 0));
      plain.push(between - before);
      marked.push(performance.now() - between);
      const after = performance.now();
      const whole = await sign(file, output_format);
      signed.push(performance.now() - after);
      more = whole.length - file.length;
      bytes = file.length - length;
    }
    const times = [plain, marked, signed].map((each) => median(each).toFixed(1));
    rows.push([output_format, ...times, bytes, more]);
  }
  const head = ["format, 512²", "ms without", "ms with the request", "ms to sign it", "bytes of the request"];
  printTable([...head, "bytes of the manifest"], rows);
}
