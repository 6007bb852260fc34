/** A call of a client, and what becomes of it. */
export interface Call {
  readonly name: string;
  /** Fails unless the answer is what the client expects. */
  readonly run: () => Promise<unknown>;
  /** What the refusal says, and the reason in the table; absent = it passes. */
  readonly refusal?: { readonly says: RegExp; readonly why: string };
}

export const passes = (name: string, run: Call["run"]): Call => ({ name, run });
export const refused = (name: string, says: RegExp, why: string, run: Call["run"]): Call => ({
  name,
  run,
  refusal: { says, why },
});
