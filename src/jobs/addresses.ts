/** Where clients find what answers and webhooks name. */
import type { Redis } from "ioredis";
import { RedisClock } from "../redis/time.ts";
import { linkSecret } from "../webhooks/links.ts";
import { signedPath, whyClosed } from "../webhooks/signed-links.ts";

/** The settings that addresses are made by. */
export interface AddressSettings {
  PUBLIC_URL: string;
  PUBLIC_IMAGES?: "signed" | undefined;
}

/** Runs a command on a Redis, wherever that one comes from. */
type Ask = <T>(command: (redis: Redis) => Promise<T>) => Promise<T>;

export class Addresses {
  readonly publicUrl: string;
  readonly #settings: AddressSettings;
  readonly #signs: boolean;
  readonly #ask: Ask;
  readonly #clock: RedisClock;
  #secret: string | null = null;

  constructor(settings: AddressSettings, ask: Ask, clock = new RedisClock()) {
    this.publicUrl = settings.PUBLIC_URL;
    this.#settings = settings;
    this.#signs = settings.PUBLIC_IMAGES === "signed";
    this.#ask = ask;
    this.#clock = clock;
  }

  /** The same ones for who sees the service elsewhere, with the secret where it is there. */
  seenAt(publicUrl: string): Addresses {
    const seen = new Addresses({ ...this.#settings, PUBLIC_URL: publicUrl }, this.#ask, this.#clock);
    seen.#secret = this.#secret;
    return seen;
  }

  /** Gets the secret that links are signed with, where they are, and the time: before a {@link picture}. */
  async ready(): Promise<void> {
    if (!this.#signs) return;
    await this.#clock.set(this.#ask);
    this.#secret ??= await this.#ask(linkSecret);
  }

  /** The address of a picture, of its path below PUBLIC_URL. */
  picture(path: string): string {
    if (!this.#signs) return this.publicUrl + path;
    if (this.#secret === null) throw new Error("a link was to be signed before the secret was there");
    return this.publicUrl + signedPath(this.#secret, path, this.#clock.now());
  }

  /** Whether the query of a picture's address is a signature; undefined = it is none. */
  async signatureOf(path: string, query: unknown): Promise<"good" | "forged" | "expired" | undefined> {
    const { expires, signature } = query as Record<string, unknown>;
    if (!this.#signs || typeof expires !== "string" || typeof signature !== "string") return undefined;
    await this.ready();
    return whyClosed(this.#secret!, path, { expires, signature }, this.#clock.now()) ?? "good";
  }
}
