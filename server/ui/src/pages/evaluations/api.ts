/** What this page asks of the API. */
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, ask } from "../../api/client";

const list = () => ask(api.GET("/v1/evaluations", { params: { query: { limit: 200 } } }));
const one = (id: string) => ask(api.GET("/v1/evaluations/{evaluation_id}", { params: { path: { evaluation_id: id } } }));

export type EvaluationObject = Awaited<ReturnType<typeof list>>["data"][number];
export type Report = NonNullable<Awaited<ReturnType<typeof one>>["report"]>;
export type Run = Awaited<ReturnType<typeof page>>["data"][number];

export interface Filter {
  environment?: string;
  model?: string;
  decoding?: string;
  group?: string;
  task_id?: string;
  failed?: boolean;
}

const PAGE = 50;

export const evaluations = queryOptions({ queryKey: ["evaluations"], queryFn: list });
export const evaluation = (id: string) => queryOptions({ queryKey: ["evaluations", id], queryFn: () => one(id) });

const page = (id: string, filter: Filter, limit: number, after?: string) =>
  ask(api.GET("/v1/evaluations/{evaluation_id}/runs", { params: { path: { evaluation_id: id }, query: { ...filter, limit, ...(after ? { after } : {}) } } }));

export const runs = (id: string, filter: Filter) =>
  infiniteQueryOptions({
    queryKey: ["evaluations", id, "runs", filter],
    queryFn: ({ pageParam }) => page(id, filter, PAGE, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => (last.has_more ? (last.data.at(-1)?.id ?? undefined) : undefined),
  });

/** Everybody's tries at one task. */
export const atTask = (id: string, task: string) =>
  queryOptions({ queryKey: ["evaluations", id, "task", task], queryFn: () => page(id, { task_id: task }, 100) });
