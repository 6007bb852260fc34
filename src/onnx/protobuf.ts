/** The few pieces of protobuf's wire format that an ONNX file needs (protobuf.dev/programming-guides/encoding). */

type Part = Uint8Array;

/** Bytes of a varint. */
function sizeOf(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Writes a varint of 0 to 2^53 at a place → the place behind it. */
function put(into: Uint8Array, at: number, value: number): number {
  let [rest, next] = [value, at];
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) into[next++] = (rest % 0x80) | 0x80;
  into[next++] = rest;
  return next;
}

export function joinBytes(parts: Part[]): Uint8Array {
  const whole = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A length-delimited field: bytes, a string, or an embedded message. */
export function bytes(field: number, value: Uint8Array | string): Part {
  const length = typeof value === "string" ? Buffer.byteLength(value) : value.length;
  const tag = field * 8 + 2;
  const whole = Buffer.allocUnsafe(sizeOf(tag) + sizeOf(length) + length);
  const at = put(whole, put(whole, 0, tag), length);
  if (typeof value === "string") whole.write(value, at);
  else whole.set(value, at);
  return whole;
}

export const message = (field: number, ...parts: Part[]) => bytes(field, joinBytes(parts));

/** int32, int64, enum: negative numbers as their 64-bit two's complement. */
export function int(field: number, value: number): Part {
  const whole = Buffer.allocUnsafe(12);
  const at = put(whole, 0, field * 8);
  if (value >= 0) return whole.subarray(0, put(whole, at, value));
  let rest = BigInt.asUintN(64, BigInt(value)); // always ten bytes
  for (let i = 0; i < 9; i++, rest >>= 7n) whole[at + i] = Number(rest & 0x7fn) | 0x80;
  whole[at + 9] = Number(rest);
  return whole.subarray(0, at + 10);
}

/** float: 4 bytes, little endian. */
export function float(field: number, value: number): Part {
  const whole = new Uint8Array(5);
  put(whole, 0, field * 8 + 5);
  new DataView(whole.buffer).setFloat32(1, value, true);
  return whole;
}

/** One field of a message: a length-delimited one's content, else its whole encoding after the tag. */
export interface Field {
  readonly number: number;
  readonly wire: number;
  readonly content: Uint8Array;
  /** Tag and all, as it stands. */
  readonly whole: Uint8Array;
}

const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

/** The fields of a message in their order. @throws RangeError when the bytes end inside one */
export function* fields(message: Uint8Array): Generator<Field> {
  let at = 0;
  const read = (): number => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError("the message ends inside a number");
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  };
  while (at < message.length) {
    const start = at;
    const tagged = read();
    const [number, wire] = [Math.floor(tagged / 8), tagged % 8];
    const body = at;
    const length = wire === 2 ? read() : (FIXED[wire] ?? 0);
    const from = wire === 2 ? at : body;
    if (wire === 0) read();
    else at += length;
    if (at > message.length) throw new RangeError("the message ends inside a field");
    yield { number, wire, content: message.subarray(from, at), whole: message.subarray(start, at) };
  }
}
