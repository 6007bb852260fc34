/**
 * How far it is, and stopping it. The web UI has one of each for everybody; here they are of the jobs that a key has sent by
 * this dialect, and of one of them where the request names its `force_task_id`.
 */
import { latestEvent } from "../../../jobs/events.ts";
import { type GenerationRecord, generation } from "../../../jobs/generation.ts";
import { idsOfDialect } from "../../../jobs/list.ts";
import type { ProgressEvent } from "../../../schema/generation.ts";
import type { Service } from "../../parts.ts";

/** An owner's jobs of this dialect that have not ended: those that run, then those that wait, the oldest first. */
export async function jobsOf({ queue }: Service, owner: string, task?: string): Promise<GenerationRecord[]> {
  const jobs: GenerationRecord[] = [];
  for (const status of ["processing", "queued"] as const) {
    for (const id of await queue.ask((redis) => idsOfDialect(redis, generation, owner, status, "a1111"))) {
      const record = await queue.read(generation, id, owner);
      if (record?.status === status) jobs.push(record);
    }
  }
  return task === undefined ? jobs : jobs.filter(({ request }) => request.metadata.force_task_id === task);
}

/** Base64 of the latest preview of a job that runs; null when there is none. */
async function previewOf({ queue }: Service, { id }: GenerationRecord): Promise<string | null> {
  const event = await queue.ask((redis) => latestEvent(redis, id));
  if (event?.event !== "progress") return null;
  const { preview } = event.data as ProgressEvent;
  return preview === undefined ? null : preview.slice(preview.indexOf(",") + 1);
}

/** Seconds that are left, when it goes on as it has; 0 when nothing can be said. */
function secondsLeft({ progress: { step, total }, started_at }: GenerationRecord): number {
  if (step === 0 || started_at === null) return 0;
  const elapsed = (Date.now() - Date.parse(started_at)) / 1000;
  return Math.max(0, (elapsed / step) * (total - step));
}

/** `GET /sdapi/v1/progress`. @param withImage whether the preview is wanted */
export async function progressOf(service: Service, owner: string, withImage: boolean, task?: string) {
  const jobs = await jobsOf(service, owner, task);
  const [current] = jobs;
  const { step = 0, total = 0 } = current?.progress ?? {};
  return {
    progress: total === 0 ? 0 : step / total,
    eta_relative: current === undefined ? 0 : secondsLeft(current),
    state: {
      skipped: false,
      interrupted: false,
      stopping_generation: false,
      job: current?.id ?? "",
      job_count: jobs.length,
      job_timestamp: (current?.created_at ?? "").replace(/\D/g, "").slice(0, 14) || "0",
      job_no: 0,
      sampling_step: step,
      sampling_steps: total,
    },
    current_image: withImage && current !== undefined ? await previewOf(service, current) : null,
    textinfo: current === undefined ? null : current.status === "queued" ? "In queue..." : null,
  };
}

/** `POST /internal/progress`: of the job with this `force_task_id`. */
export async function progressOfTask(service: Service, owner: string, task: string, withImage: boolean) {
  const { progress, eta_relative, state, current_image, textinfo } = await progressOf(service, owner, withImage, task);
  const isThere = state.job !== "";
  const isQueued = isThere && textinfo !== null;
  return {
    active: isThere && !isQueued,
    queued: isQueued,
    completed: !isThere,
    progress,
    eta: eta_relative,
    live_preview: current_image === null ? null : `data:image/jpeg;base64,${current_image}`,
    id_live_preview: state.sampling_step,
    textinfo,
  };
}

/** Stops the job that {@link progressOf} tells of. */
export async function interrupt(service: Service, owner: string, task?: string): Promise<void> {
  const [current] = await jobsOf(service, owner, task);
  if (current !== undefined) await service.queue.cancel(current.id);
}
