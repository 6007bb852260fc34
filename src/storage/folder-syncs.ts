import { closeSync, fsync, open } from "node:fs";

/** Makes a file's bytes durable, or a folder's names: a new name is only when its folder is. */
export async function sync(path: string): Promise<void> {
  // By its number: a FileHandle costs more, and closing what was not written to has nothing to wait for.
  const file = await called<number>((done) => open(path, done));
  await called<void>((done) => fsync(file, done)).finally(() => closeSync(file));
}

function called<T>(begin: (done: (error: Error | null, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => begin((error, value) => (error ? reject(error) : resolve(value))));
}

/** Makes the names in folders durable: whoever asks while a folder is written shares its next writing with all who ask meanwhile. */
export class FolderSyncs {
  /** By the folder's path; `next` begins when the one under way has ended. */
  readonly #underWay = new Map<string, { ended: Promise<void>; next: Promise<void> | null }>();

  /** Ends when every name that the folder had at the call is durable. */
  sync(folder: string): Promise<void> {
    const one = this.#underWay.get(folder);
    if (one === undefined) return this.#begin(folder);
    const begin = () => this.#begin(folder);
    one.next ??= one.ended.then(begin, begin);
    return one.next;
  }

  #begin(folder: string): Promise<void> {
    const ended = sync(folder).finally(() => {
      if (one.next === null) this.#underWay.delete(folder);
    });
    const one: { ended: Promise<void>; next: Promise<void> | null } = { ended, next: null };
    this.#underWay.set(folder, one);
    return ended;
  }
}
