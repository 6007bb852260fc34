/** The few pieces of protobuf's wire format that an ONNX file needs (protobuf.dev/programming-guides/encoding). */

type Part = Uint8Array;

const utf8 = new TextEncoder();

function varint(value: bigint): Part {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

const tag = (field: number, wire: number) => varint(BigInt((field << 3) | wire));

export function concat(parts: Part[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A length-delimited field: bytes, a string, or an embedded message. */
export function bytes(field: number, value: Uint8Array | string): Part {
  const content = typeof value === "string" ? utf8.encode(value) : value;
  return concat([tag(field, 2), varint(BigInt(content.length)), content]);
}

export const message = (field: number, ...parts: Part[]) => bytes(field, concat(parts));

/** int32, int64, enum: negative numbers as their 64-bit two's complement. */
export const int = (field: number, value: number) => concat([tag(field, 0), varint(BigInt(value))]);

/** float: 4 bytes, little endian. */
export function float(field: number, value: number): Part {
  const content = new Uint8Array(4);
  new DataView(content.buffer).setFloat32(0, value, true);
  return concat([tag(field, 5), content]);
}
