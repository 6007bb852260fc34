/** `Accept: image/png`: who asks for a picture in place of what is said of it (RFC 9110, 12.5.1). */
import { Refused } from "../errors.ts";
import { CONTENT_TYPES, OutputFormat } from "../schema/generation-request.ts";

/** A range of `Accept`: how well it is liked, 0 … 1, and where it stands. */
interface Liking {
  readonly q: number;
  readonly place: number;
  /** Whether it fits by name, as a type or as `image/*`, and not only as any type. */
  readonly named: boolean;
}
const NOT_LIKED: Liking = { q: 0, place: Number.POSITIVE_INFINITY, named: false };

/** What some call the types that there are. */
const ALIASES: Readonly<Record<string, string>> = {
  "image/jpg": CONTENT_TYPES.jpeg,
  "image/pjpeg": CONTENT_TYPES.jpeg,
  "image/x-png": CONTENT_TYPES.png,
};
const JSON_TYPE = "application/json";

function rangesOf(accept: string): Map<string, Liking> {
  const ranges = new Map<string, Liking>();
  for (const [place, part] of accept.toLowerCase().split(",").entries()) {
    const [type = "", ...params] = part.split(";").map((piece) => piece.trim());
    const said = Number(params.find((param) => /^q\s*=/.test(param))?.split("=")[1] ?? 1);
    const name = ALIASES[type] ?? type;
    const known = ranges.get(name);
    const q = Number.isNaN(said) ? 1 : said;
    if (type !== "" && (known?.q ?? -1) < q) ranges.set(name, { q, place, named: !name.startsWith("*") });
  }
  return ranges;
}

/** How well an answer of `type` is liked: by the range that names it most closely. */
function likingOf(ranges: ReadonlyMap<string, Liking>, type: string): Liking {
  const names = [type, `${type.split("/")[0]}/*`, "*/*", "*"];
  return names.map((name) => ranges.get(name)).find((range) => range !== undefined) ?? NOT_LIKED;
}

/** Less than 0 when the one comes before the other: better liked, else named where that is not, else named before it. */
function order(a: Liking, b: Liking): number {
  if (a.q !== b.q) return b.q - a.q;
  if (a.named !== b.named) return a.named ? -1 : 1;
  return a.place === b.place ? 0 : a.place - b.place; // both may stand nowhere
}

/**
 * The formats in which a picture is liked better than JSON, the best liked first; none where JSON is liked as much, as by
 * clients that say any type, or nothing. Of two that are liked alike, one that is named comes before any type, so that a
 * picture is what browsers ask for with "image/webp" and any type; and of two that are named, the first.
 */
export function acceptedFormats(accept: string | undefined): OutputFormat[] {
  const ranges = rangesOf(accept ?? "");
  const json = likingOf(ranges, JSON_TYPE);
  return OutputFormat.options
    .map((format) => ({ format, liking: likingOf(ranges, CONTENT_TYPES[format]) }))
    .filter(({ liking }) => liking.q > 0 && order(liking, json) < 0)
    .sort((a, b) => order(a.liking, b.liking))
    .map(({ format }) => format);
}

/** @throws {Refused} 406 when pictures alone are wanted, of types that are none of `offered` */
export function refuseOtherPictures(accept: string | undefined, offered: readonly OutputFormat[]): void {
  const ranges = rangesOf(accept ?? "");
  const wanted = [...ranges].filter(([type, { q }]) => type.startsWith("image/") && q > 0).map(([type]) => type);
  const types = offered.map((format) => CONTENT_TYPES[format]);
  const fits = (type: string) => likingOf(ranges, type).q > 0;
  if (wanted.length === 0 || fits(JSON_TYPE) || types.some(fits)) return;
  const shown = wanted.slice(0, 5).join(", ").slice(0, 200);
  throw new Refused(406, "not_acceptable", `Accept asks for ${shown}; there are ${types.join(", ")}, application/json`);
}
