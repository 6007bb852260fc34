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

export function joinBytes(parts: Part[]): Uint8Array {
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
  return joinBytes([tag(field, 2), varint(BigInt(content.length)), content]);
}

export const message = (field: number, ...parts: Part[]) => bytes(field, joinBytes(parts));

/** int32, int64, enum: negative numbers as their 64-bit two's complement. */
export const int = (field: number, value: number) => joinBytes([tag(field, 0), varint(BigInt(value))]);

/** float: 4 bytes, little endian. */
export function float(field: number, value: number): Part {
  const content = new Uint8Array(4);
  new DataView(content.buffer).setFloat32(0, value, true);
  return joinBytes([tag(field, 5), content]);
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
