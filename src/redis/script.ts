/**
 * Lua scripts in Redis, each in a file of its own whose head says what its KEYS and ARGV are. A line
 * `--- @include "other.lua"` stands for another file, which comes in once. A connection sends a script in full once, and
 * names it by its hash from then on.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";

type Argument = string | number | Buffer;
type Command = (keys: number, ...keysAndArguments: Argument[]) => Promise<unknown>;

/**
 * Returns what runs the script on a connection, with its keys and arguments.
 * @param file the .lua file
 * @param constants names that the script reads as locals, so that a key's name is spelled in TypeScript alone
 */
export function script(file: URL, constants: Readonly<Record<string, string | number>> = {}) {
  const locals = Object.entries(constants).map(([name, value]) => `local ${name} = ${JSON.stringify(value)}\n`);
  const lua = locals.join("") + withIncludes(file, new Set());
  const name = `script:${createHash("sha1").update(lua).digest("hex")}`;
  return (redis: Redis, keys: string[], ...more: Argument[]): Promise<unknown> => {
    if (!(name in redis)) redis.defineCommand(name, { lua });
    const command = (redis as unknown as Record<string, Command>)[name]!;
    return command.call(redis, keys.length, ...keys, ...more);
  };
}

function withIncludes(file: URL, seen: Set<string>): string {
  if (seen.has(file.href)) return "";
  seen.add(file.href);
  const text = readFileSync(file, "utf8");
  return text.replace(/^--- @include "(.+)"$/gm, (_line, name) => withIncludes(new URL(name, file), seen));
}
