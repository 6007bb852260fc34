/** What is asked of every generated client: a whole day's work with the service. */
export interface Driver {
  /** @returns what names the file in a request */
  upload(file: Blob): Promise<string>;
  /** A picture under the control of an upload. @returns the generation's id */
  create(upload: string, webhook: string): Promise<string>;
  /** Until it has ended. @returns the steps that were heard of, where the client hears of them, and the last status */
  wait(id: string): Promise<{ steps?: number[]; status: string }>;
  /** @returns the ids, the newest first */
  list(): Promise<string[]>;
  picture(id: string): Promise<Blob>;
  /** A long generation, canceled. @returns its status at the end */
  cancel(): Promise<string>;
  /** A width of 7. @returns the problem's code, and the first field at fault */
  error(): Promise<{ code: string; path: string | undefined }>;
  /** The key that webhooks are signed with. */
  secret(): Promise<string>;
  /** What a webhook of a generation that has succeeded tells: the union is told apart by `type`. @returns the pictures' addresses */
  webhook(payload: unknown): string[];
}

/** Asks until it has ended. */
export async function poll(get: () => Promise<{ status: string; ended_at: string | null }>): Promise<string> {
  for (;;) {
    const { status, ended_at } = await get();
    if (ended_at !== null) return status;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
