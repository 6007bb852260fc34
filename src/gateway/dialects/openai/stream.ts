/** OpenAI's stream of a picture that becomes: some previews, then the picture. */
import { BEGINNING } from "../../../jobs/events.ts";
import type { GenerationRecord } from "../../../jobs/generation.ts";
import type { ProgressEvent } from "../../../schema/generation.ts";
import { follow } from "../../follow.ts";
import type { Service } from "../../parts.ts";
import type { Made } from "../at-once.ts";

/** Tokens are not counted here; who reads `usage` finds it. */
export const NO_TOKENS = {
  input_tokens: 0,
  input_tokens_details: { image_tokens: 0, text_tokens: 0 },
  output_tokens: 0,
  total_tokens: 0,
};

export type EventName = "image_generation" | "image_edit";

const text = (event: string, data: object) => `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`;

/** The steps after which the previews are sent: evenly spaced, none of them twice. */
function stepsOfPreviews(total: number, count: number): Set<number> {
  const steps = Array.from({ length: count }, (_, i) => Math.ceil((total * (i + 1)) / (count + 1)));
  return new Set(steps.filter((step) => step >= 1 && step < total));
}

interface Told {
  readonly name: EventName;
  readonly partialImages: number;
  /** Waits for the end. @throws what is to be told when there is no picture */
  readonly finish: () => Promise<{ record: GenerationRecord; files: Made[] }>;
  /** What OpenAI's error event says of an error. */
  readonly errorOf: (error: Error) => object;
}

/** The stream's text. */
export async function* tell(
  service: Service,
  accepted: GenerationRecord,
  { name, partialImages, finish, errorOf }: Told,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { width, height, output_format } = accepted.request;
  const about = {
    created_at: Math.floor(Date.parse(accepted.created_at) / 1000),
    size: `${width}x${height}`,
    quality: "auto",
    background: "opaque",
  };
  const wanted = stepsOfPreviews(accepted.progress.total, partialImages);
  let index = 0;
  yield ": it is accepted\n\n"; // with the head of the answer, which a client waits for before it hears anything
  try {
    for await (const event of follow(service, accepted.id, BEGINNING, signal)) {
      if (event === null) yield ": still there\n\n";
      else if (event.event === "progress") {
        const { step, preview } = event.data as ProgressEvent;
        if (!wanted.has(step) || preview === undefined) continue;
        const b64_json = preview.slice(preview.indexOf(",") + 1);
        const partial = { ...about, output_format: "jpeg", b64_json, partial_image_index: index++ };
        yield text(`${name}.partial_image`, partial);
      }
    }
    const { files } = await finish();
    for (const { bytes } of files) {
      const b64_json = bytes.toString("base64");
      yield text(`${name}.completed`, { ...about, output_format, b64_json, usage: NO_TOKENS });
    }
  } catch (error) {
    yield `event: error\ndata: ${JSON.stringify({ type: "error", ...errorOf(error as Error) })}\n\n`;
  }
}
