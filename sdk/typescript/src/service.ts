import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { type Client, createClient, createConfig } from "./generated/client/index.ts";
import * as api from "./generated/index.ts";
import { retryingFetch } from "./retry.ts";

const POLL_MS = 500;

export interface ServiceOptions {
  /** Of the service: "http://127.0.0.1:8080". */
  baseUrl: string;
  apiKey?: string;
  /** How often a request is sent again; 5 when it is absent. */
  retries?: number;
  fetch?: typeof fetch;
}

export interface WaitOptions {
  /** Hears how far it is, with a preview where the request asks for previews. */
  onProgress?: (progress: api.GenerationProgressEvent) => void;
  signal?: AbortSignal;
}

/** The service has refused a request: `problem` says why, `problem.errors` which fields. */
export class Refused extends Error {
  readonly problem: api.Problem;
  constructor(problem: api.Problem) {
    super(problem.detail ?? String(problem));
    this.problem = problem;
  }
}

/** A generation has ended without pictures: failed or canceled. */
export class JobFailed extends Error {
  readonly generation: api.Generation;
  constructor(generation: api.Generation) {
    super(generation.error?.message ?? generation.status);
    this.generation = generation;
  }
}

/** What came of a request. @throws {Refused} and what fetch throws when nothing answers */
async function dataOf<T>(sent: Promise<{ data?: T; error?: unknown; response?: Response }>): Promise<T> {
  const { data, error, response } = await sent;
  if (response?.ok) return data as T;
  if (error instanceof Error) throw error;
  throw new Refused(error as api.Problem);
}

/** Most of what programs do with the service; the rest is in the generated functions, which take its `client`. */
export class ControlNetService {
  readonly client: Client;

  constructor({ baseUrl, apiKey, retries = 5, fetch = globalThis.fetch }: ServiceOptions) {
    const own = { baseUrl, fetch: retryingFetch(retries, fetch), ...(apiKey !== undefined && { auth: apiKey }) };
    this.client = createClient(createConfig(own));
  }

  /** Accepted, not ended yet. @param idempotencyKey the same one gives the same generation for 24 hours */
  create(request: api.CreateGenerationInput, idempotencyKey: string = crypto.randomUUID()): Promise<api.Generation> {
    const headers = { "idempotency-key": idempotencyKey };
    return dataOf(api.createGeneration({ client: this.client, body: request, headers }));
  }

  get(id: string, signal?: AbortSignal): Promise<api.Generation> {
    return dataOf(api.getGeneration({ client: this.client, path: { id }, ...(signal && { signal }) }));
  }

  cancel(id: string): Promise<api.Generation> {
    return dataOf(api.cancelGeneration({ client: this.client, path: { id } }));
  }

  /** The newest first. */
  list(query: api.ListGenerationsData["query"] = {}): Promise<api.GenerationList> {
    return dataOf(api.listGenerations({ client: this.client, query }));
  }

  /** The generation when it has ended, whichever way: by its events, or by asking where those do not come through. */
  async wait(id: string, { onProgress, signal }: WaitOptions = {}): Promise<api.Generation> {
    const own = { client: this.client, path: { id }, sseMaxRetryAttempts: 2, ...(signal && { signal }) };
    const { stream } = await api.streamGenerationEvents(own);
    for await (const event of stream) if (!("object" in event)) onProgress?.(event);
    for (;;) {
      signal?.throwIfAborted();
      const generation = await this.get(id, signal);
      if (generation.ended_at !== null) return generation;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Creates one and waits for its pictures. @throws {Refused, JobFailed} */
  async generate(request: api.CreateGenerationInput, options: WaitOptions = {}): Promise<api.Generation> {
    const { id } = await this.create(request);
    const generation = await this.wait(id, options);
    if (generation.status !== "succeeded") throw new JobFailed(generation);
    return generation;
  }

  /** The bytes of a picture's file. @param n which of the generation's pictures, from 0 */
  async picture(id: string, n = 0): Promise<Uint8Array> {
    const sent = api.getGenerationImage({ client: this.client, path: { id, n }, parseAs: "blob" });
    return new Uint8Array(await (await dataOf(sent)).arrayBuffer());
  }

  /** Sends a file once. @param file its path, or what is in it @returns what names it in requests: "upload:…" */
  async upload(file: string | Blob | Uint8Array<ArrayBuffer>, name = "file"): Promise<string> {
    const blob = typeof file === "string" ? await openAsBlob(file) : new Blob([file]);
    const named = new File([blob], typeof file === "string" ? basename(file) : name);
    const { id } = await dataOf(api.createUpload({ client: this.client, body: { file: named } }));
    return `upload:${id}`;
  }

  /** The key that webhooks are signed with, for `verifyWebhook`. */
  async webhookKey(): Promise<string> {
    return (await dataOf(api.getWebhookSecret({ client: this.client }))).key;
  }
}
