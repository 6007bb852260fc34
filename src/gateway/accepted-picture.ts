/** `Accept: image/png`: who asks for a picture in place of what is said of it (RFC 9110, 12.5.1). */
import { CONTENT_TYPES, OutputFormat } from "../schema/generation-request.ts";

/** How well an answer of `type` is liked, 0 … 1: by the most specific range that fits it. */
function quality(ranges: ReadonlyMap<string, number>, type: string): number {
  return ranges.get(type) ?? ranges.get(`${type.split("/")[0]}/*`) ?? ranges.get("*/*") ?? 0;
}

function rangesOf(accept: string): Map<string, number> {
  const ranges = new Map<string, number>();
  for (const part of accept.toLowerCase().split(",")) {
    const [type = "", ...params] = part.split(";").map((piece) => piece.trim());
    const q = params.find((param) => /^q\s*=/.test(param))?.split("=")[1];
    const value = Number(q ?? 1);
    if (type !== "") ranges.set(type, Number.isNaN(value) ? 1 : value);
  }
  return ranges;
}

/**
 * The formats in which a picture is liked better than JSON, the best liked first; none where JSON is liked as much, as by
 * clients that say any type, or nothing.
 */
export function acceptedFormats(accept: string | undefined): OutputFormat[] {
  const ranges = rangesOf(accept ?? "");
  const json = quality(ranges, "application/json");
  const liked = OutputFormat.options
    .map((format) => ({ format, q: quality(ranges, CONTENT_TYPES[format]) }))
    .filter(({ q }) => q > json);
  return liked.sort((a, b) => b.q - a.q).map(({ format }) => format);
}
