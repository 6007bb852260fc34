import { dataOf, JobFailed } from "./errors.ts";
import { type Client, createClient, createConfig } from "./generated/client/index.ts";
import * as api from "./generated/index.ts";
import { retryingFetch } from "./retry.ts";
import { type Jobs, type WaitOptions, waitForEnd } from "./wait.ts";

export interface ServiceOptions {
  /** Of the service: "http://127.0.0.1:8080". */
  baseUrl: string;
  apiKey?: string | undefined;
  /** How often a request is sent again when nothing answers or the service is busy. Default: 5. */
  retries?: number;
  fetch?: typeof fetch;
}

export interface GenerateOptions extends WaitOptions<"generation"> {
  /** For 24 hours the same key gives the same generation, also to a program that has been started again. */
  idempotencyKey?: string;
}

/** Most of what programs do with the service; the generated functions, which take `client`, have the rest. */
export class ControlNetService {
  readonly client: Client;

  constructor({ baseUrl, apiKey, retries = 5, fetch = globalThis.fetch }: ServiceOptions) {
    const auth = apiKey === undefined ? {} : { auth: apiKey };
    const address = baseUrl.replace(/\/+$/, "");
    this.client = createClient(createConfig({ baseUrl: address, fetch: retryingFetch(retries, fetch), ...auth }));
  }

  /** Accepted, not ended yet. @throws {Refused} */
  create(request: api.CreateGenerationInput, idempotencyKey: string = crypto.randomUUID()): Promise<api.Generation> {
    const headers = { "idempotency-key": idempotencyKey };
    return dataOf(api.createGeneration({ client: this.client, body: request, headers }));
  }

  get(id: string): Promise<api.Generation> {
    return dataOf(api.getGeneration({ client: this.client, path: { id } }));
  }

  /** The newest first. */
  list(query: api.ListGenerationsData["query"] = {}): Promise<api.GenerationList> {
    return dataOf(api.listGenerations({ client: this.client, query }));
  }

  /** At once when it waits, within a step when it runs. @throws {Refused} when it has ended */
  cancel(id: string): Promise<api.Generation> {
    return dataOf(api.cancelGeneration({ client: this.client, path: { id } }));
  }

  /** The job (a generation, an annotation or a training) when it has ended, whichever way. */
  wait<Kind extends keyof Jobs>(
    job: { id: string; object: Kind; ended_at?: string | null },
    options: WaitOptions<Kind> = {},
  ): Promise<Jobs[Kind]> {
    return waitForEnd(this.client, job, options);
  }

  /** Creates a generation and waits for its pictures. @throws {Refused, JobFailed} */
  async generate(request: api.CreateGenerationInput, options: GenerateOptions = {}): Promise<api.Generation> {
    const ended = await this.wait(await this.create(request, options.idempotencyKey), options);
    if (ended.status !== "succeeded") throw new JobFailed(ended);
    return ended;
  }

  /** The bytes of a picture's file. @param n which of the generation's pictures, from 0 */
  async picture(id: string, n = 0): Promise<Uint8Array> {
    const sent = api.getGenerationImage({ client: this.client, path: { id, n }, parseAs: "blob" });
    return new Uint8Array(await (await dataOf(sent)).arrayBuffer());
  }

  /** Sends a file once. @param file its path, or what is in it @returns what names it in requests: "upload:…" */
  async upload(file: string | Blob | Uint8Array): Promise<string> {
    const bytes = typeof file === "string" ? await (await import("node:fs/promises")).readFile(file) : file;
    const body = { file: bytes instanceof Blob ? bytes : new Blob([new Uint8Array(bytes)]) };
    return `upload:${(await dataOf(api.createUpload({ client: this.client, body }))).id}`;
  }

  /** The key that webhooks are signed with, for `verifyWebhook`. */
  async webhookKey(): Promise<string> {
    return (await dataOf(api.getWebhookSecret({ client: this.client }))).key;
  }
}
