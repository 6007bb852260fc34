/** A Hugging Face hub, or another of its protocol: what a repository holds, and where its files are. */
import { HUB_URL, HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { HubError, hubFetch } from "./hub-fetch.ts";

export interface HubFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Of a large file; null where only git's own sum is known. */
  readonly sha256: string | null;
  /** git's sum of a small file: SHA-1 of `blob <size>\0` and the content. */
  readonly oid: string;
}

/** A repository at one commit. */
export interface Repository {
  readonly name: string;
  readonly commit: string;
  readonly license: string | null;
  readonly files: readonly HubFile[];
}

/** `org/name`, as the hub spells it. */
const NAME = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** @throws HubError */
export function requireName(name: string): void {
  if (!NAME.test(name) || name.includes("..")) {
    throw new HubError(`"${name}" is not the name of a repository: org/name is wanted`);
  }
}

/** A path that stays in its folder. */
const isInside = (path: string) =>
  !/[\\\0]/.test(path) && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

const SAID: Readonly<Record<number, string>> = {
  401: "it is not there, or not without a token: set HF_TOKEN, and accept its license on its page if it asks for that",
  403: "the token may not read it: accept its license on its page",
  404: "it is not there",
};

export class Hub {
  readonly endpoint: string;
  readonly fetch: typeof fetch;

  /** `HF_ENDPOINT` and `HF_TOKEN`, as Hugging Face's own programs read them. */
  constructor({ HF_ENDPOINT, HF_TOKEN }: Readonly<Record<string, string | undefined>>) {
    this.endpoint = ((HF_ENDPOINT ?? "") === "" ? HUB_URL : HF_ENDPOINT!).replace(/\/+$/, "");
    if (!/^https?:$/.test(URL.parse(this.endpoint)?.protocol ?? "")) {
      throw new HubError(`HF_ENDPOINT=${HF_ENDPOINT}: must be an address that starts with https:// or http://`);
    }
    this.fetch = hubFetch(this.endpoint, HF_TOKEN === "" ? undefined : HF_TOKEN);
  }

  /** Where a person reads about a repository. */
  page(name: string): string {
    return `${this.endpoint}/${name}`;
  }

  address({ name, commit }: Repository, path: string): string {
    return `${this.endpoint}/${name}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
  }

  /** @throws HubError */
  async repository(name: string, revision: string): Promise<Repository> {
    requireName(name);
    const common = { hubUrl: this.endpoint, fetch: this.fetch };
    try {
      const about = await modelInfo({ ...common, name, revision, additionalFields: ["sha", "cardData", "tags"] });
      const commit = String(about.sha);
      const files: HubFile[] = [];
      for await (const { type, path, size, oid, lfs } of listFiles({
        ...common,
        repo: name,
        revision: commit,
        recursive: true,
      })) {
        if (type === "file" && isInside(path)) {
          files.push({ path, size: lfs?.size ?? size, sha256: lfs?.oid ?? null, oid: oid ?? "" });
        }
      }
      return { name, commit, license: licenseOf(about), files };
    } catch (error) {
      throw this.said(name, revision, error);
    }
  }

  /** An error of the hub's in words. */
  said(name: string, revision: string, error: unknown): HubError {
    if (error instanceof HubError) return error;
    const what = `${this.page(name)} at ${revision}`;
    if (error instanceof HubApiError) {
      return new HubError(`${what}: ${SAID[error.statusCode] ?? `the hub answers with ${error.statusCode}`}`, {
        cause: error,
      });
    }
    return new HubError(`${what}: the hub cannot be reached (${reasonOf(error)})`, { cause: error });
  }
}

/** What has gone wrong with a connection. */
export const reasonOf = (error: unknown): string => {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message : message;
};

/** What a model's card says. */
function licenseOf({ cardData, tags }: { cardData?: object | undefined; tags?: string[] | undefined }): string | null {
  const { license, license_name: name } = (cardData ?? {}) as { license?: unknown; license_name?: unknown };
  const tag = tags?.find((one) => one.startsWith("license:"))?.slice("license:".length);
  const said = name ?? license ?? tag;
  return said === undefined || said === null ? null : [said].flat().join(", ");
}
