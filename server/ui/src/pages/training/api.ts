/** What this page asks of the API. */
import { queryOptions } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import type { Item } from "../../api/types";

const readRun = (id: string) => ask(api.GET("/v1/fine_tuning/jobs/{job_id}/run", { params: { path: { job_id: id } } }));

export type JobObject = Item<"/v1/fine_tuning/jobs">;
export type Run = Awaited<ReturnType<typeof readRun>>;
export type Event = Item<"/v1/fine_tuning/jobs/{job_id}/events">;

/** What became of the rows of one source. */
export interface Found {
  rows: number;
  kept: number;
  dropped: Record<string, number>;
  examples: Record<string, { trajectory: string; reason: string; count?: number }[]>;
  scrubbed?: Record<string, number>;
  rendered_anew?: number;
  out_of_form?: number;
}

export interface Source {
  rows: number;
  tokens: number;
  trained_tokens: number;
  longest: number;
  weight: number;
}

/** A setting of a recipe, as its JSON schema has it. */
export interface Setting {
  group: string;
  description: string;
  default: unknown;
  type?: string;
  enum?: string[];
  items?: { enum?: string[]; type?: string };
  anyOf?: { type: string }[];
  minimum?: number;
  maximum?: number;
}

const BUSY_MS = 2_000;
const IDLE_MS = 15_000;

const DONE = ["succeeded", "failed", "cancelled"];

export const ended = (job: Pick<JobObject, "status">): boolean => DONE.includes(job.status);

export const jobs = queryOptions({
  queryKey: ["jobs"],
  queryFn: () => ask(api.GET("/v1/fine_tuning/jobs", { params: { query: { limit: 100 } } })),
  refetchInterval: ({ state }) => (state.data?.data.every((job) => ended(job) || waits(job)) ? IDLE_MS : BUSY_MS),
});

export const job = (id: string) =>
  queryOptions({
    queryKey: ["jobs", id],
    queryFn: () => ask(api.GET("/v1/fine_tuning/jobs/{job_id}", { params: { path: { job_id: id } } })),
    refetchInterval: ({ state }) => (state.data && ended(state.data) ? false : BUSY_MS),
  });

export const run = (id: string, live: boolean) =>
  queryOptions({
    queryKey: ["jobs", id, "run"],
    queryFn: () => readRun(id),
    refetchInterval: live ? BUSY_MS : false,
  });

export const events = (id: string, live: boolean) =>
  queryOptions({
    queryKey: ["jobs", id, "events"],
    queryFn: () => ask(api.GET("/v1/fine_tuning/jobs/{job_id}/events", { params: { path: { job_id: id }, query: { limit: 50 } } })),
    refetchInterval: live ? BUSY_MS : false,
  });

export const recipe = queryOptions({
  queryKey: ["recipe"],
  queryFn: async () => {
    const schema = (await ask(api.GET("/v1/fine_tuning/recipe"))) as { properties: Record<string, Setting> };
    return schema.properties;
  },
  staleTime: Infinity,
});

/** Whether somebody has to do something before it goes on. */
export const waits = (job: Pick<JobObject, "status">): boolean => (job.status as string) === "paused";
