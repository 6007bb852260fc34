/** Whether there is room for one more job: on the disk, where Redis' file grows too, and in Redis' memory. */
import { NotReady } from "../errors.ts";
import type { JobQueue } from "../jobs/queue.ts";
import { hasMemory, type RedisMemory, redisMemory } from "../redis/memory.ts";
import { reserve, roomOf } from "../storage/room.ts";

/** How long what Redis and the disk have said of themselves counts; what is accepted meanwhile is added to it. */
const FRESH_MS = 100;
/** Bytes of Redis' memory, and of its file, that a job takes for one of its request: the record, BullMQ's job, the lists. */
const TIMES = 3;
const BESIDE = 4096;

/** What one owner's jobs may take of Redis' memory: a quarter of it; and where Redis has no bound. */
const SHARE = 0.25;
const SHARE_WITHOUT_BOUND = 256 * 2 ** 20;

export class Room {
  readonly #queue: Pick<JobQueue, "ask">;
  readonly #folder: string;
  #memory: RedisMemory = { used: 0, most: null };
  /** Bytes that may be written to the disk. */
  #room = 0;
  #asked = Number.NEGATIVE_INFINITY;

  /** @param folder on the disk that Redis' file lies on as well, as `npm start` has it */
  constructor(queue: Pick<JobQueue, "ask">, folder: string) {
    this.#queue = queue;
    this.#folder = folder;
  }

  /**
   * @param request its length
   * @throws {NotReady} when a job with such a request would take what must stay free
   */
  async require(request: number): Promise<void> {
    const bytes = TIMES * request + BESIDE;
    const memory = await this.#look();
    if (this.#room < bytes) await reserve(this.#folder, bytes); // it may have come free since
    this.#room -= bytes;
    if (!hasMemory(memory, bytes)) {
      throw new NotReady(["Redis' memory is nearly full: what has been accepted needs the rest"]);
    }
    memory.used += bytes;
  }

  /** The most bytes that the requests of an owner's jobs of a kind may have. */
  async ownersShare(): Promise<number> {
    const { most } = await this.#look();
    return most === null ? SHARE_WITHOUT_BOUND : Math.floor(SHARE * most);
  }

  async #look(): Promise<RedisMemory> {
    if (performance.now() - this.#asked > FRESH_MS) {
      this.#asked = performance.now();
      [this.#memory, this.#room] = await Promise.all([this.#queue.ask(redisMemory), roomOf(this.#folder)]);
    }
    return this.#memory;
  }
}
