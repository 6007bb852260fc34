/** The directory of a ZIP file whose entries are stored as they are, which torch writes (PKWARE APPNOTE 6.3). */
import type { ByteSource } from "../onnx/wire.ts";
import { CheckpointError } from "./safetensors.ts";

/** Where an entry's bytes lie in the file. */
export interface ZipEntry {
  readonly offset: number;
  readonly length: number;
}

const [END, END_64, DIRECTORY, LOCAL] = [0x06054b50, 0x06064b50, 0x02014b50, 0x04034b50];
const [END_BYTES, LOCATOR_BYTES, LONGEST_COMMENT] = [22, 20, 65_535];
const [LONGEST_DIRECTORY, MOST_ENTRIES] = [2 ** 26, 2 ** 17];
/** What 32 bits say when the number stands in 64 bits elsewhere. */
const ELSEWHERE = 0xffff_ffff;

function viewAt(source: ByteSource, offset: number, length: number): DataView {
  if (offset < 0 || offset + length > source.size) throw new CheckpointError("the ZIP file is cut off");
  const bytes = source.read(offset, length);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

const long = (view: DataView, at: number) => Number(view.getBigUint64(at, true));

/** Where the directory lies, from the end of the file. */
function directory(source: ByteSource): { offset: number; length: number; count: number } {
  const start = Math.max(source.size - END_BYTES - LONGEST_COMMENT, 0);
  const tail = viewAt(source, start, source.size - start);
  let at = tail.byteLength - END_BYTES;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) throw new CheckpointError("not a ZIP file: it has no directory");
  const found = {
    count: tail.getUint16(at + 10, true),
    length: tail.getUint32(at + 12, true),
    offset: tail.getUint32(at + 16, true),
  };
  const isLong = found.count === 0xffff || found.length === ELSEWHERE || found.offset === ELSEWHERE;
  if (!isLong || at < LOCATOR_BYTES) return found;
  const end = viewAt(source, long(tail, at - LOCATOR_BYTES + 8), 56);
  if (end.getUint32(0, true) !== END_64) throw new CheckpointError("the ZIP file's directory is not where it says");
  return { count: long(end, 32), length: long(end, 40), offset: long(end, 48) };
}

/** The three numbers that an entry may have in 64 bits, in this order, each only where 32 bits say so. */
function longFields(extra: DataView, fields: number[]): number[] {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const [id, size] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
    let next = at + 4;
    if (id === 1) {
      return fields.map((field) => {
        if (field !== ELSEWHERE) return field;
        if (next + 8 > Math.min(at + 4 + size, extra.byteLength))
          throw new CheckpointError("the ZIP file's sizes are cut off");
        next += 8;
        return long(extra, next - 8);
      });
    }
    at += 4 + size;
  }
  return fields;
}

/**
 * Entries by name.
 * @throws CheckpointError when the file is no ZIP file, is damaged, or has compressed or encrypted entries
 */
export function readZip(source: ByteSource): Map<string, ZipEntry> {
  const { offset, length, count } = directory(source);
  if (length > LONGEST_DIRECTORY || count > MOST_ENTRIES) throw new CheckpointError(`a ZIP file of ${count} entries`);
  const view = viewAt(source, offset, length);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < length; ) {
    if (at + 46 > length || view.getUint32(at, true) !== DIRECTORY)
      throw new CheckpointError("the ZIP file's directory is damaged");
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
      number,
      number,
      number,
    ];
    const next = at + 46 + nameBytes + extraBytes + commentBytes;
    if (next > length) throw new CheckpointError("the ZIP file's directory is damaged");
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameBytes));
    const extra = new DataView(view.buffer, view.byteOffset + at + 46 + nameBytes, extraBytes);
    const stated = [24, 20, 42].map((field) => view.getUint32(at + field, true));
    const [whole, stored, header] = longFields(extra, stated) as [number, number, number];
    const flags = view.getUint16(at + 8, true);
    if (view.getUint16(at + 10, true) !== 0 || whole !== stored || (flags & 1) !== 0) {
      throw new CheckpointError(`${name} is compressed or encrypted; torch stores its files as they are`);
    }
    if (entries.has(name)) throw new CheckpointError(`the ZIP file has two entries ${name}`);
    entries.set(name, { offset: contentOf(source, header), length: stored });
    at = next;
  }
  return entries;
}

/** An entry's content begins behind its own header, whose extra field may differ from the directory's. */
function contentOf(source: ByteSource, header: number): number {
  const view = viewAt(source, header, 30);
  if (view.getUint32(0, true) !== LOCAL) throw new CheckpointError("a ZIP entry is not where the directory says");
  return header + 30 + view.getUint16(26, true) + view.getUint16(28, true);
}
