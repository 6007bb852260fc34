/** How a trained ControlNet comes into MODELS_DIR: whole, under a name that nobody has, or not at all. */
import { randomUUID } from "node:crypto";
import { cp, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { reserve } from "../../src/storage/room.ts";

/** The ControlNet cannot be offered; `message` is written for the client. */
export class PublishError extends Error {
  override readonly name = "PublishError";
  readonly code: "name_taken" | "models_not_writable";

  constructor(code: PublishError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Lies in the ControlNet's folder and says which training has made it. */
const MARK = "training.json";

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** A ControlNet's place in MODELS_DIR, as a training sees it. */
export class Place {
  readonly #controlnets: string;
  readonly #name: string;
  readonly #training: string;
  /** Hidden: nothing that begins with a dot is taken for a ControlNet. This attempt's own: one that was thought dead may still write. */
  readonly #part: string;

  constructor(modelsDir: string, name: string, training: string) {
    this.#controlnets = join(modelsDir, "controlnets");
    this.#name = name;
    this.#training = training;
    this.#part = join(this.#controlnets, `.${training}.${randomUUID()}.part`);
  }

  get #folder(): string {
    return join(this.#controlnets, this.#name);
  }

  /** Whether the training has brought it here already, before it died. */
  async isDone(): Promise<boolean> {
    try {
      return JSON.parse(await readFile(join(this.#folder, MARK), "utf8")).id === this.#training;
    } catch {
      return false;
    }
  }

  /**
   * @throws {PublishError} when it could not be brought here at the end; an error with `code: "ENOSPC"` when the disk is full
   */
  async check(): Promise<void> {
    await this.#checkName();
    try {
      await mkdir(this.#part, { recursive: true });
      await rm(this.#part, { recursive: true });
    } catch (cause) {
      const { code = "" } = cause as NodeJS.ErrnoException;
      if (code === "ENOSPC") throw cause; // which passes
      throw new PublishError("models_not_writable", `the trainer cannot write to MODELS_DIR (${code})`, { cause });
    }
  }

  async #checkName(): Promise<void> {
    if ((await exists(this.#folder)) || (await exists(`${this.#folder}.safetensors`))) throw this.#taken();
  }

  #taken(): PublishError {
    return new PublishError("name_taken", `there is a ControlNet "${this.#name}" already`);
  }

  /**
   * Brings a ControlNet's folder here, from whatever disk.
   * @param about goes into the mark
   * @throws {PublishError} when the name belongs to another by now
   */
  async bring(from: string, about: object): Promise<void> {
    try {
      const files = await Promise.all((await readdir(from)).map((name) => stat(join(from, name))));
      const bytes = files.reduce((sum, { size }) => sum + size, 0);
      await mkdir(this.#controlnets, { recursive: true });
      await reserve(this.#controlnets, bytes); // what the trainer waits for, as for a disk that is full
      await cp(from, this.#part, { recursive: true });
      await writeFile(join(this.#part, MARK), `${JSON.stringify({ id: this.#training, ...about }, null, 2)}\n`);
      for (const name of await readdir(this.#part)) await sync(join(this.#part, name));
      await sync(this.#part);
      await this.#checkName();
      await rename(this.#part, this.#folder).catch((error: NodeJS.ErrnoException) => {
        throw error.code === "ENOTEMPTY" || error.code === "EEXIST" ? this.#taken() : error;
      });
      await sync(this.#controlnets);
    } catch (error) {
      if (error instanceof PublishError && (await this.isDone())) return; // an attempt that was thought dead was quicker
      throw error;
    } finally {
      await rm(this.#part, { recursive: true, force: true });
    }
  }

  /** Removes what attempts before this one have left half-written. */
  async sweep(): Promise<void> {
    const names = await readdir(this.#controlnets).catch(() => []);
    for (const name of names.filter((name) => name.startsWith(`.${this.#training}.`))) {
      await rm(join(this.#controlnets, name), { recursive: true, force: true });
    }
  }

  /** Removes what the training has brought here, or was about to. Returns whether it was offered. */
  async withdraw(): Promise<boolean> {
    await this.sweep();
    if (!(await this.isDone())) return false;
    try {
      await rename(this.#folder, this.#part);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false; // another worker is quicker
      throw error;
    }
    await rm(this.#part, { recursive: true, force: true });
    return true;
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path);
  await file.sync().finally(() => file.close());
}
