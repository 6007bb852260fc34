/** Archives as strangers make them. */
import assert from "node:assert/strict";
import fs, { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import { unpack } from "../../../workers/train/archive.ts";

const root = mkdtempSync(join(tmpdir(), "archive-"));
after(() => rmSync(root, { recursive: true }));

const LIMITS = { entries: 20, fileBytes: 10_000, totalBytes: 25_000, besideBytes: 100_000, freeBytes: 0 };

interface Entry {
  name: string;
  data?: Buffer;
  /** A Unix file type; absent = a plain file. */
  type?: "link" | "hardlink" | "device" | "folder" | "sparse" | "label" | "pax";
  to?: string;
  /** What a zip says of the file's size, when it lies. */
  claimed?: number;
}

/** APPNOTE 4.3: local headers with their data, the central directory, its end. */
function zip(entries: Entry[]): Buffer {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, data = Buffer.alloc(0), type, to, claimed } of entries) {
    const content = type === "link" ? Buffer.from(to!) : data;
    const packed = deflateRawSync(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x0800, 2); // names are UTF-8
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(claimed ?? content.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, Buffer.from(name), packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((type === "link" ? 0o120777 : type === "folder" ? 0o40755 : 0o100644) << 16) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    central.push(Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), common, tail, Buffer.from(name));
    parts.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, directory, Buffer.from("PK\x05\x06"), end]);
}

const TAR_TYPES = { link: "2", hardlink: "1", device: "3", folder: "5", sparse: "S", label: "V", pax: "x" } as const;

/** POSIX.1-1988: a header of 512 bytes before each file, padded to as many. */
function tar(entries: Entry[]): Buffer {
  const parts = entries.flatMap(({ name, data = Buffer.alloc(0), type, to = "" }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write("0000644\0", 100);
    header.write(`${data.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("        ", 148);
    header.write(type === undefined ? "0" : TAR_TYPES[type], 156);
    header.write(to, 157);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return [header, data, Buffer.alloc((512 - (data.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

let count = 0;
/** Unpacks bytes into a folder of its own, and says what it holds then. */
async function unpacked(bytes: Buffer, limits = LIMITS): Promise<string> {
  const place = join(root, String(++count));
  mkdirSync(place);
  writeFileSync(join(place, "archive"), bytes);
  await unpack(join(place, "archive"), join(place, "inside/set"), limits);
  return join(place, "inside/set");
}

const formats = { zip, tar, "tar.gz": (entries: Entry[]) => gzipSync(tar(entries)) };
const text = Buffer.from("a picture");

for (const [format, make] of Object.entries(formats)) {
  test(`${format}: files and folders come out as they went in`, async () => {
    const folder = await unpacked(
      make([
        { name: "prompt.json", data: text },
        { name: "source/", type: "folder" },
        { name: "source/1.png", data: Buffer.alloc(9000, 7) },
        { name: "./deep/er/ä.png", data: text },
        { name: "empty.txt" },
      ]),
    );
    assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), [
      "deep",
      "deep/er",
      "deep/er/ä.png",
      "empty.txt",
      "prompt.json",
      "source",
      "source/1.png",
    ]);
    assert.ok(readFileSync(join(folder, "source/1.png")).equals(Buffer.alloc(9000, 7)));
    assert.equal(readFileSync(join(folder, "deep/er/ä.png"), "utf8"), "a picture");
  });

  const hostile: [name: string, entries: Entry[], says: RegExp][] = [
    ["an absolute path", [{ name: "/tmp/archive-absolute", data: text }], /absolute/],
    ["a path that leads out", [{ name: "a/../../../out", data: text }], /"\.\."|invalid relative path/],
    ["a path that leads out by backslashes", [{ name: "..\\..\\out", data: text }], /"\.\."|invalid relative path/],
    ["a symbolic link", [{ name: "link", type: "link", to: "/etc" }], /"link" is a link, or no file/],
    [
      "a file behind a symbolic link",
      [
        { name: "link", type: "link", to: "../../.." },
        { name: "link/out", data: text },
      ],
      /"link" is a link, or no file/,
    ],
    ["too many entries", Array.from({ length: 21 }, (_, i) => ({ name: `${i}` })), /more than 20 entries/],
    ["folders that are too many", [{ name: `${"a/".repeat(20)}x`, data: text }], /more than 20 entries/],
    ["folders that are too deep", [{ name: `${"a/".repeat(33)}x`, data: text }], /more than 32 folders/],
    ["a file that is too large", [{ name: "large", data: Buffer.alloc(10_001) }], /"large" has more than 10000 bytes/],
    [
      "too much in all",
      ["a", "b", "c"].map((name) => ({ name, data: Buffer.alloc(9000) })),
      /unpacks to more than 25000 bytes/,
    ],
    [
      "a file twice",
      [
        { name: "same", data: text },
        { name: "same", data: text },
      ],
      /"same" cannot be written/,
    ],
    [
      "a file as a folder",
      [
        { name: "same", data: text },
        { name: "same/inner", data: text },
      ],
      /"same\/inner" cannot be written/,
    ],
  ];
  for (const [name, entries, says] of hostile) {
    test(`${format}: ${name} is refused`, async () => {
      await assert.rejects(unpacked(make(entries)), (error: Error) => {
        assert.equal(error.name, "DatasetError");
        assert.match(error.message, says);
        return true;
      });
      assert.ok(!existsSync(join(root, "out")) && !existsSync(join(root, String(count), "out")));
      assert.ok(!existsSync("/tmp/archive-absolute"));
    });
  }

  test(`${format}: what is cut off is refused`, async () => {
    const bytes = make([{ name: "a", data: Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * i) % 251)) }]);
    await assert.rejects(unpacked(bytes.subarray(0, bytes.length / 2)), { name: "DatasetError" });
    assert.deepEqual(readdirSync(join(root, String(count), "inside")), [], "nothing half-unpacked stays");
  });
}

test("tar: hard links and devices are refused", async () => {
  for (const type of ["hardlink", "device"] as const) {
    await assert.rejects(
      unpacked(tar([{ name: "x", type, ...(type === "hardlink" && { to: "/etc/passwd" }) }])),
      /"x" is a link, or no file/,
    );
  }
});

test("tar: what is beside files is bounded, so that a little gzip does not keep the trainer; a label and padding are none of it", async () => {
  const file = { name: "a", data: text };
  const kept = await unpacked(Buffer.concat([tar([{ name: "May", type: "label" }, file]), Buffer.alloc(50_000)]));
  assert.deepEqual(readdirSync(kept), ["a"]);
  const comment = Buffer.from("20 comment=aaaaaaaa\n");
  const pax = { name: "x", type: "pax" as const, data: comment };
  for (const [what, bomb] of Object.entries({
    padding: [tar([file]), Buffer.alloc(150_000)],
    headers: [tar([...Array<Entry>(150).fill(pax), file])],
    "a folder with content": [tar([{ name: "a/", type: "folder", data: Buffer.alloc(150_000) }, file])],
  })) {
    for (const bytes of [Buffer.concat(bomb), gzipSync(Buffer.concat(bomb))]) {
      const says = { name: "DatasetError", message: "the archive has more than 100000 bytes beside its files" };
      await assert.rejects(unpacked(bytes), says, what);
    }
  }
  await assert.rejects(unpacked(gzipSync(gzipSync(tar([file])))), /compressed twice/);
});

test("tar: a file that would be passed over is refused", async () => {
  await assert.rejects(
    unpacked(tar([{ name: "s", type: "sparse", data: text }])),
    /"s" is of a type that is not read: SparseFile/,
  );
});

test("a bomb is stopped where it passes the limit, whatever it says of its size", async () => {
  const bomb = Buffer.alloc(5_000_000);
  await assert.rejects(unpacked(zip([{ name: "bomb", data: bomb, claimed: 100 }])), { name: "DatasetError" });
  await assert.rejects(unpacked(zip([{ name: "bomb", data: bomb }])), /more than 10000 bytes/);
  await assert.rejects(unpacked(gzipSync(tar([{ name: "bomb", data: bomb }]))), { name: "DatasetError" });
  const written = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("bomb"));
  assert.deepEqual(written, []);
});

test("a disk without room is told before anything is written, and one that fills up before it is full; nothing stays", async () => {
  const archive = tar([{ name: "a", data: Buffer.alloc(50_000_000) }]);
  const limits = { entries: 1, fileBytes: 1e9, totalBytes: 1e9, besideBytes: 1e6 };
  const never = { ...limits, freeBytes: 2 ** 60 };
  const says = /^dataset: unpacking the archive: \d+ MB more are needed; \d+ MB are free .*, where \d+ MB stay free$/;
  await assert.rejects(unpacked(archive, never), { name: "TrainingError", message: says });
  let looks = 0;
  const later = {
    ...limits,
    get freeBytes() {
      return looks++ < 2 ? 0 : 2 ** 60;
    },
  };
  await assert.rejects(unpacked(archive, later), { name: "TrainingError", message: says });
  assert.equal(looks, 3, "it was being written");
  assert.deepEqual(readdirSync(join(root, String(count), "inside")), []);
  assert.deepEqual(readdirSync(join(root, String(count - 1), "inside")), []);
});

test("asked to stop while it unpacks, it says so and nothing else", async () => {
  for (const make of Object.values(formats)) {
    const archive = join(root, String(++count));
    writeFileSync(archive, make([{ name: "a", data: text }]));
    const stop = new Error("stop");
    const unpacking = unpack(archive, `${archive}-set`, LIMITS, () => {
      throw stop;
    });
    await assert.rejects(unpacking, (error) => error === stop);
    assert.ok(!existsSync(`${archive}-set`));
  }
});

test("what is no archive is refused", async () => {
  await assert.rejects(unpacked(Buffer.from("hello")), { name: "DatasetError" });
  await assert.rejects(unpacked(gzipSync(Buffer.from("hello"))), { name: "DatasetError" });
});

test("files of a byte take a block each: the disk is looked at every so many of them, and nothing is left when it fills", async () => {
  const file = join(root, "many.tar");
  writeFileSync(file, tar(Array.from({ length: 9000 }, (_, i) => ({ name: `${i}.txt`, data: Buffer.from("x") }))));
  const folder = join(root, "many");
  let looks = 0;
  const statfs = mock.method(fs, "statfsSync", () => ({ bavail: looks++ < 1 ? 2 ** 30 : 0, bsize: 1, files: 0 }));
  syncBuiltinESMExports();
  try {
    const limits = { entries: 10_000, fileBytes: 10, totalBytes: 1_000_000, besideBytes: 1e6, freeBytes: 1000 };
    await assert.rejects(unpack(file, folder, limits), /unpacking the archive: .* more are needed/);
  } finally {
    statfs.mock.restore();
    syncBuiltinESMExports();
  }
  assert.equal(looks, 2);
  assert.equal(existsSync(folder), false);
});

test("a disk that has room for few more files is not filled with them", async () => {
  const file = join(root, "few.tar");
  writeFileSync(file, tar([{ name: "1.txt", data: Buffer.from("x") }]));
  const statfs = mock.method(fs, "statfsSync", () => ({ bavail: 2 ** 30, bsize: 1, files: 20_000, ffree: 500 }));
  syncBuiltinESMExports();
  try {
    await assert.rejects(unpack(file, join(root, "few"), LIMITS), /the disk has room for 500 more files alone/);
  } finally {
    statfs.mock.restore();
    syncBuiltinESMExports();
  }
});
