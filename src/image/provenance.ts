/**
 * What a picture's file says of itself, as XMP: that a trained algorithm has made it (IPTC's digital source type, which the EU's
 * AI Act, Art. 50, and most platforms go by), and the request that makes it again. No time and no id is in it: the same request
 * gives the same bytes.
 */
import sharp from "sharp";
import {
  GenerationInput,
  type GenerationRequest,
  type OutputFormat,
  type PROVENANCES,
} from "../schema/generation-request.ts";
import { withoutNulls } from "../schema/nulls.ts";

export type Provenance = (typeof PROVENANCES)[number];

const SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
const TOOL = "controlnet-service";
/** The namespace of our own property. */
const OWN = "urn:controlnet-service:1/";

/** A JPEG has XMP in one segment of 65535 bytes with its head (XMP specification, part 3, 1.1.3); of others there is no bound. */
const JPEG_BYTES = 65502;

/** Where a picture is shown and who hears of it: not what makes it. */
const ASIDE = ["webhook", "metadata", "priority", "preview", "response"] satisfies (keyof GenerationRequest)[];

/** What `POST /v1/generations` takes to make the request's picture `index` alone, by the same owner as long as a job of theirs keeps the images. */
export function requestOfPicture(request: GenerationRequest, index: number): Record<string, unknown> {
  const controls = request.controls.map((control) => ({
    ...control,
    image: Array.isArray(control.image) ? control.image[index]! : control.image,
  }));
  const single = { ...request, controls, seed: request.seed + index, num_images: 1 };
  const made = Object.entries(single).filter(([name]) => !(ASIDE as readonly string[]).includes(name));
  return withoutNulls(GenerationInput, Object.fromEntries(made)) as Record<string, unknown>;
}

const ESCAPES: Record<string, string> = { "<": "&lt;", ">": "&gt;", "&": "&amp;" };
const escapeXml = (text: string) => text.replace(/[<>&]/g, (one) => ESCAPES[one]!);
/** JSON that XML can hold: what XML may not hold at all stands as JSON's own escapes. */
const jsonOf = (value: unknown) =>
  JSON.stringify(value).replace(/[\ufffe\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16)}`);

function packet(request: Record<string, unknown> | null): string {
  const own = request === null ? "" : `<cns:Request>${escapeXml(jsonOf(request))}</cns:Request>`;
  return `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:cns="${OWN}"><xmp:CreatorTool>${TOOL}</xmp:CreatorTool><Iptc4xmpExt:DigitalSourceType>${SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>${own}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>`;
}

/** The XMP of a request's picture `index`; null = none is to be in it. Too long a request for a JPEG is left out, and the mark stays. */
export function xmpOf(provenance: Provenance, request: GenerationRequest, index: number): string | null {
  if (provenance === "off") return null;
  if (provenance === "mark") return packet(null);
  const full = packet(requestOfPicture(request, index));
  const fits: Record<OutputFormat, boolean> = { png: true, webp: true, jpeg: Buffer.byteLength(full) <= JPEG_BYTES };
  return fits[request.output_format] ? full : packet(null);
}

export interface Told {
  /** IPTC's digital source type; null = the file names none. */
  digitalSourceType: string | null;
  /** What `POST /v1/generations` takes to make the picture again; null = the file does not say, or another program has made it. */
  request: unknown;
}

/** What a PNG, JPEG or WebP says of itself. @throws Error when it is no image */
export async function readProvenance(file: Uint8Array): Promise<Told> {
  const { xmp } = await sharp(file).metadata();
  const text = xmp?.toString() ?? "";
  const digitalSourceType = /DigitalSourceType(?:>|=")([^<"]+)/.exec(text)?.[1] ?? null;
  const [, escaped] = text.includes(`"${OWN}"`) ? (/<cns:Request>([^<]*)</.exec(text) ?? []) : [];
  return { digitalSourceType, request: escaped === undefined ? null : JSON.parse(unescapeXml(escaped)) };
}

const NAMED: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };
/** Also what other programs write that have kept our property. */
const unescapeXml = (text: string) =>
  text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return NAMED[name] ?? whole;
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal));
  });
