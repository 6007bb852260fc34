import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { SHELVES, type ShelfName, type ShelfRoute, Unavailable } from "../../schema/catalog.ts";
import { SCHEDULERS, Scheduler, type SchedulerName } from "../../schema/schedulers.ts";
import { problems } from "../openapi.ts";
import { listOf } from "../paging.ts";
import type { Service } from "../parts.ts";

const ABOUT = {
  ddim: { description: "DDIM, eta 0 (arXiv 2010.02502)", stochastic: false, evaluations: "n" },
  ddpm: { description: "DDPM, ancestral sampling (arXiv 2006.11239)", stochastic: true, evaluations: "n" },
  pndm: { description: "PNDM without Runge-Kutta steps (arXiv 2202.09778)", stochastic: false, evaluations: "n+1" },
  euler: { description: "Euler's method on sigmas (arXiv 2206.00364)", stochastic: false, evaluations: "n" },
  euler_karras: { description: "Euler with Karras' sigmas", stochastic: false, evaluations: "n" },
  euler_ancestral: { description: "Euler with ancestral noise", stochastic: true, evaluations: "n" },
  heun: { description: "Heun's second-order method (arXiv 2206.00364)", stochastic: false, evaluations: "2n-1" },
  dpmpp_2m: { description: "DPM-Solver++(2M) (arXiv 2211.01095)", stochastic: false, evaluations: "n" },
  dpmpp_2m_karras: { description: "DPM-Solver++(2M) with Karras' sigmas", stochastic: false, evaluations: "n" },
  dpmpp_2m_sde_karras: { description: "SDE-DPM-Solver++(2M), Karras' sigmas", stochastic: true, evaluations: "n" },
  unipc: { description: "UniPC (arXiv 2302.04867)", stochastic: false, evaluations: "n" },
  lcm: {
    description: "Latent consistency, for models trained for it (arXiv 2310.04378)",
    stochastic: true,
    evaluations: "n",
  },
} satisfies Record<SchedulerName, Omit<Scheduler, "id" | "object">>;

/** A shelf's list, with what lies beside its things but cannot be served. */
const shelfOf = <T extends z.ZodType>(entry: T) =>
  listOf(entry).extend({
    unavailable: z
      .array(Unavailable.pick({ id: true, reason: true }))
      .describe("What MODELS_DIR holds of this kind that cannot be served, and why."),
  });

const list = <T>(data: T[]) => ({ object: "list" as const, data, next_cursor: null });

/** What this installation offers: the models and ControlNets that its workers have, and the schedulers. */
export const catalog: FastifyPluginAsyncZod<Service> = async (app, { fleet }) => {
  const tags = ["catalog"];
  for (const [shelf, { entry, operationId, summary }] of Object.entries(SHELVES) as [ShelfName, ShelfRoute][]) {
    app.get(
      `/v1/${shelf}`,
      { schema: { operationId, summary, tags, response: { 200: shelfOf(entry), ...problems(503) } } },
      async () => {
        const { [shelf]: entries, skipped } = await fleet.catalog();
        const unavailable = skipped.filter((one) => one.shelf === shelf).map(({ id, reason }) => ({ id, reason }));
        return { ...list<Record<string, unknown>>(entries), unavailable };
      },
    );
  }
  app.get(
    "/v1/schedulers",
    {
      schema: {
        operationId: "listSchedulers",
        summary: "The schedulers",
        tags,
        response: { 200: listOf(Scheduler) },
      },
    },
    async () => list(SCHEDULERS.map((id) => ({ id, object: "scheduler" as const, ...ABOUT[id] }))),
  );
};
