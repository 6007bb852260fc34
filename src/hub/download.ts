/** One file from a hub: goes on where it was cut off, and is kept only if its sum is right. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type Hub, type HubFile, reasonOf } from "./hub.ts";
import { HubError } from "./hub-fetch.ts";

/** Attempts in a row that bring nothing. */
const MOST_FAILURES = 4;
const FIRST_PAUSE_MS = 200;
/** A connection that is silent for so long is given up. */
const SILENCE_MS = 30_000;

/** A cut: what has come is kept. */
class Interrupted extends Error {}

const sizeOf = async (path: string): Promise<number> => (await stat(path).catch(() => ({ size: 0 }))).size;

/** The hub's sum of a file on disk: SHA-256, or git's of a small one. */
async function sumOf(path: string, { sha256, size }: HubFile): Promise<string> {
  const hash = sha256 === null ? createHash("sha1").update(`blob ${size}\0`) : createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * Appends what is missing of a file.
 * @throws Interrupted when the connection ends early, HubError when the hub does not give the file
 */
async function fetchRest(
  hub: Hub,
  address: string,
  { path, size }: HubFile,
  part: string,
  onBytes: (have: number) => void,
) {
  let have = await sizeOf(part);
  const silence = new AbortController();
  const watch = setTimeout(() => silence.abort(new Error("it is silent")), SILENCE_MS);
  const headers = { "Accept-Encoding": "identity", ...(have > 0 && { Range: `bytes=${have}-` }) };
  try {
    const response = await hub.fetch(address, { headers, signal: silence.signal });
    const from = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
    if (response.status >= 500 || response.status === 429)
      throw new Interrupted(`the hub answers with ${response.status}`);
    if (!response.ok || (response.status === 206 && Number(from) !== have)) {
      throw new HubError(`${path}: the hub answers with ${response.status}`);
    }
    if (response.status !== 206) have = 0;
    const file = await open(part, have === 0 ? "w" : "a");
    try {
      for await (const chunk of response.body ?? []) {
        watch.refresh();
        have += chunk.length;
        if (have > size) throw new HubError(`${path}: more than the ${size} bytes that the hub says it has`);
        await file.appendFile(chunk);
        onBytes(have);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error instanceof HubError || error instanceof Interrupted ? error : new Interrupted(reasonOf(error));
  } finally {
    clearTimeout(watch);
  }
  if (have < size) throw new Interrupted("the connection has ended early");
}

/**
 * @param to where the whole file lies in the end; beside it, `.part` is what has come so far
 * @param onBytes told how many bytes are there
 * @throws HubError; the same call goes on where this one ended
 */
export async function download(
  hub: Hub,
  address: string,
  file: HubFile,
  to: string,
  onBytes: (have: number) => void,
): Promise<void> {
  const part = `${to}.part`;
  const { path, size } = file;
  if ((await sizeOf(part)) > size) await rm(part);
  for (let failures = 0, before = await sizeOf(part); before < size || size === 0; ) {
    try {
      await fetchRest(hub, address, file, part, onBytes);
      break;
    } catch (error) {
      const have = await sizeOf(part);
      failures = have > before ? 0 : failures + 1;
      before = have;
      if (!(error instanceof Interrupted)) {
        if (have > size) await rm(part);
        throw error;
      }
      if (failures >= MOST_FAILURES) {
        throw new HubError(
          `${path}: ${error.message} at ${have} of ${size} bytes; the same command goes on from there`,
        );
      }
      await sleep(FIRST_PAUSE_MS * 2 ** failures);
    }
  }
  const [sum, expected] = [await sumOf(part, file), file.sha256 ?? file.oid];
  if (sum !== expected) {
    await rm(part);
    const kind = file.sha256 === null ? "git sum" : "sha256";
    throw new HubError(
      `${path}: its ${kind} is ${sum}, the hub says ${expected}: thrown away; the same command fetches it again`,
    );
  }
  await rename(part, to);
}
