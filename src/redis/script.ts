/** Lua scripts in Redis: a connection sends each in full once, and names it by its hash from then on. */
import { createHash } from "node:crypto";
import type { Redis } from "ioredis";

type Argument = string | number | Buffer;
type Command = (keys: number, ...keysAndArguments: Argument[]) => Promise<unknown>;

/** Returns what runs the script on a connection, with its keys and arguments. */
export function script(lua: string): (redis: Redis, keys: string[], ...more: Argument[]) => Promise<unknown> {
  const name = `script:${createHash("sha1").update(lua).digest("hex")}`;
  return (redis, keys, ...more) => {
    if (!(name in redis)) redis.defineCommand(name, { lua });
    const command = (redis as unknown as Record<string, Command>)[name]!;
    return command.call(redis, keys.length, ...keys, ...more);
  };
}
