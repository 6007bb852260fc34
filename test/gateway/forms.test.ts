import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused } from "../../src/errors.ts";
import { BOUNDS } from "../../src/gateway/bounds.ts";
import { partsOf } from "../../src/gateway/form-parts.ts";

const part = (head: string, content: string) => `--x\r\n${head}\r\n\r\n${content}\r\n`;
const field = (name: string, content = "1") => part(`Content-Disposition: form-data; name="${name}"`, content);
const partsIn = (text: string) =>
  partsOf(Buffer.from(text), "x", BOUNDS).map(({ name, fileType, content }) => [
    name,
    fileType,
    content.toString("latin1"),
  ]);

test("a form's parts come in their order, files as they are, in every spelling of the head", async () => {
  const form = new FormData();
  form.append('a "b"', "ü\r\n--");
  form.append("file", new Blob([new Uint8Array([0, 13, 10, 255])], { type: "image/png" }), "x.png");
  const sent = new Response(form);
  const boundary = sent.headers.get("content-type")!.split("boundary=")[1]!;
  const bytes = Buffer.from(await sent.arrayBuffer());
  const [text, file] = partsOf(bytes, boundary, BOUNDS);
  assert.deepEqual([text!.name, text!.fileType, text!.content.toString()], ['a "b"', undefined, "ü\r\n--"]);
  assert.deepEqual([file!.name, file!.fileType, [...file!.content]], ["file", "image/png", [0, 13, 10, 255]]);
  assert.equal(file!.content.buffer, bytes.buffer, "a file is copied");
  assert.deepEqual(
    partsIn(`before\r\n${part("content-disposition: form-data;name=n; filename=f", "")}--x--\r\nafter`),
    [["n", "text/plain", ""]],
  );
  assert.deepEqual(partsIn("--x--"), []);
});

const BROKEN: [what: string, text: string, says: RegExp, status?: number][] = [
  ["has nothing in it", "", /boundary .* is not in it/],
  ["breaks off", field("a"), /last boundary is missing/],
  ["has a part without a head", "--x\r\n1\r\n--x--", /no blank line/],
  ["has a part of another kind", `${part('Content-Disposition: attachment; name="a"', "1")}--x--`, /no name/],
  ["has something behind a boundary", `--xy\r\n${field("a")}--x--`, /more behind it/],
  [
    "has a head without an end",
    `${part(`Content-Disposition: form-data; name="${"a".repeat(5000)}"`, "")}--x--`,
    /line/,
  ],
  ["has 1001 fields", `${field("a").repeat(1001)}--x--`, /more than 1000 fields/],
  ["has 600 kB of text", `${field("a", "1".repeat(300_000)).repeat(2)}--x--`, /more than the 524288 bytes/, 413],
];
for (const [what, text, says, status = 400] of BROKEN) {
  test(`a form that ${what} is refused`, () => {
    assert.throws(
      () => partsIn(text),
      (error) => error instanceof Refused && error.status === status && says.test(error.message),
    );
  });
}

test("data: URIs in a form may be as long as its body", () => {
  assert.equal(partsIn(`${field("image", `data:image/png;base64,${"A".repeat(600_000)}`)}--x--`).length, 1);
});
