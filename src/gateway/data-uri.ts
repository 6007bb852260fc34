/** Images that are written into a request: data: URIs with base64 data (RFC 2397), as all kinds of programs spell them. */

const dataOf = (uri: string) => uri.slice(uri.indexOf(",") + 1);

/** The bytes of a data: URI: padded or not, with the URL's alphabet too, and percent-encoded where someone encoded it once more. */
export function bytesOfDataUri(uri: string): Buffer {
  return Buffer.from(decoded(dataOf(uri)), "base64");
}

function decoded(data: string): string {
  if (!data.includes("%")) return data;
  try {
    return decodeURIComponent(data);
  } catch {
    return data;
  }
}

/** What is wrong with the base64 of a data: URI whose bytes are no image; null when it is sound and the image itself is not. */
export function faultOfBase64(uri: string): string | null {
  const data = decoded(dataOf(uri)).replace(/[\r\n\t]/g, "");
  const at = data.search(/[^\w+/=-]/);
  if (at >= 0) {
    const shown = JSON.stringify(data[at]);
    const blank = data[at] === " " ? ": a + that became a blank on its way?" : "";
    return `the data: URI is not base64: character ${at} of its data is ${shown}${blank}`;
  }
  if (data.replace(/=+$/, "").length % 4 === 1) return "the data: URI's base64 is cut off";
  return null;
}
