/** How long functions and files may be: short enough to be read at once. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");
const LONGEST_FUNCTION = 60;
const LONGEST_FILE = 300;
const MEDIAN_FILE = 100;

/** A route plugin holds its routes, each with its schema: it is a list, and may be longer. */
const PLUGINS = "src/gateway/routes/";

/** File → what it holds, line by line, without the empty one behind the last. */
const files = new Map(
  ["src", "workers"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name): [string, string[]] => {
        const file = join(folder, name);
        return [file, readFileSync(join(root, file), "utf8").replace(/\n$/, "").split("\n")];
      }),
  ),
);

/** A line that ends a function's head: of a declaration, a method, or a function that is a value. */
const HEAD =
  /(^|[^=])=> \{$|^\s*((export|default|async|static|private|function\*?|get|set)\s)*\*?#?[\w[\].]*(<.*>)?\(.*\).* \{$/;
/** The last line of a head that was too long for one. */
const LONG_HEAD = /^\s*\)(: .*)? \{$/;
const NO_FUNCTION = /^\s*(\} )?(if|for|while|switch|catch|else|with|do|try)\b/;

const indentOf = (line: string) => /^ */.exec(line)![0].length;

/**
 * The functions of a file as Biome lays it out, with their lines: the body ends with the first line that closes a brace at the
 * indentation where the head has begun, as does the head's last line.
 */
function* functionsOf(lines: readonly string[]): Generator<{ line: number; length: number }> {
  for (const [end, line] of lines.entries()) {
    if (!(HEAD.test(line) || LONG_HEAD.test(line)) || NO_FUNCTION.test(line)) continue;
    const indent = indentOf(line);
    let first = end;
    if (LONG_HEAD.test(line)) {
      do first--;
      while (indentOf(lines[first]!) !== indent || lines[first] === "");
      if (NO_FUNCTION.test(lines[first]!)) continue;
    }
    const closing = new RegExp(`^ {${indent}}\\}`);
    const last = lines.findIndex((other, i) => i > end && closing.test(other));
    assert.notEqual(last, -1, `the function in line ${first + 1} has no end`);
    yield { line: first + 1, length: last - first + 1 };
  }
}

test(`no function has more than ${LONGEST_FUNCTION} lines, but for the plugins of routes`, () => {
  const long = [...files]
    .filter(([file]) => !file.startsWith(PLUGINS))
    .flatMap(([file, lines]) => [...functionsOf(lines)].map(({ line, length }) => ({ at: `${file}:${line}`, length })))
    .filter(({ length }) => length > LONGEST_FUNCTION);
  assert.deepEqual(long, []);
});

test(`no file has more than ${LONGEST_FILE} lines, and half of them have ${MEDIAN_FILE} at most`, () => {
  const lengths = [...files].map(([file, { length }]) => ({ file, length })).sort((a, b) => a.length - b.length);
  assert.deepEqual(
    lengths.filter(({ length }) => length > LONGEST_FILE),
    [],
  );
  const median = lengths[Math.floor(lengths.length / 2)]!.length;
  assert.ok(median <= MEDIAN_FILE, `the median is ${median}`);
});

test("the counter finds functions of every form, and no other blocks", () => {
  const text = [
    "export async function one<T>(a: T): Promise<void> {", // 3 lines
    "  return a;",
    "}",
    "class A {",
    "  #two(", // 8 lines
    "    a: number,",
    "  ): void {",
    "    for (const b of c(a)) {",
    "      if (d(b)) {",
    "      }",
    "    }",
    "  }",
    "  get three() {", // 3 lines
    "    return 3;",
    "  }",
    "}",
    "const four = async (a: string) => {", // 3 lines
    "  a.slice();",
    "};",
    'app.get("/five", { schema: {} }, async (request) => {', // 2 lines
    "});",
  ];
  assert.deepEqual(
    [...functionsOf(text)].map(({ length }) => length),
    [3, 8, 3, 3, 2],
  );
});
