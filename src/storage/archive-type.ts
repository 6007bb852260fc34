/** Which kind of archive a file is, by its content. */
export type ArchiveType = "zip" | "tar" | "tar.gz";

/** @param head its first 512 bytes; null = none that can be read here */
export function archiveTypeOf(head: Buffer): ArchiveType | null {
  // APPNOTE 4.3.7: a local file header; 4.3.16: the end of a zip file that holds nothing.
  if (head.subarray(0, 4).equals(Buffer.from("PK\x03\x04")) || head.subarray(0, 4).equals(Buffer.from("PK\x05\x06"))) {
    return "zip";
  }
  if (head.subarray(257, 262).toString("latin1") === "ustar") return "tar"; // POSIX.1, pax and GNU alike
  if (head[0] === 0x1f && head[1] === 0x8b) return "tar.gz"; // RFC 1952
  return null;
}
