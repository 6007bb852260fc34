/** What each owner has uploaded: so many at once, and, where there are several owners, half of the disk's room that there is for them. */
import { Refused } from "../errors.ts";
import type { JobQueue } from "../jobs/queue.ts";
import { script } from "../redis/script.ts";
import { redisNow } from "../redis/time.ts";
import { roomOf } from "../storage/room.ts";
import type { Ledger } from "../storage/uploads.ts";

const runTake = script(new URL("lua/take-upload.lua", import.meta.url));
const runGiveBack = script(new URL("lua/give-back-upload.lua", import.meta.url));

const keysOf = (owner: string) => [`uploads:of:${owner}`, `uploads:bytes:${owner}`];

export class UploadLedger implements Ledger {
  readonly #queue: Pick<JobQueue, "ask">;
  readonly #folder: string | null;
  readonly #most: number;

  /**
   * @param folder on the disk that uploads are kept on; null = nobody shares it
   * @param most how many uploads an owner may have
   */
  constructor(queue: Pick<JobQueue, "ask">, folder: string | null, most: number) {
    this.#queue = queue;
    this.#folder = folder;
    this.#most = most;
  }

  now(): Promise<number> {
    return this.#queue.ask(redisNow);
  }

  /** @throws {Refused} 429 */
  async take(owner: string, id: string, bytes: number, expires: number): Promise<void> {
    const room = this.#folder === null ? Number.MAX_SAFE_INTEGER : await roomOf(this.#folder);
    const bound = await this.#queue.ask((redis) =>
      runTake(redis, keysOf(owner), id, bytes, Math.ceil(expires), this.#most, room),
    );
    if (bound === null) return;
    const all =
      bound === "count" ? `there may be ${this.#most}` : "together they may take half of the room that the disk has";
    throw new Refused(
      429,
      "too_many_uploads",
      `this key has too many uploads: ${all}; delete some, or wait until they expire`,
    );
  }

  async giveBack(owner: string, id: string): Promise<void> {
    await this.#queue.ask((redis) => runGiveBack(redis, keysOf(owner), id));
  }
}
