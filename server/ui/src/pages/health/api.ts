/** What this page asks of the API. */
import { queryOptions } from "@tanstack/react-query";
import { api, ask, send } from "../../api/client";
import type { Item } from "../../api/types";
import { parse, type Sample } from "./prometheus";

export type KeyUse = Item<"/v1/keys">;

export interface Moment {
  /** Unix seconds. */
  at: number;
  values: Sample[];
}

export interface Call {
  id: number;
  owner: string;
  tool: string;
  verdict: string;
  seconds: number;
  created: number;
  trajectory_id: string;
}

const EACH_MS = 2_000;
const MOMENTS = 150;

const history: Moment[] = [];

/** The last five minutes, as long as the page is open. */
export const metrics = {
  queryKey: ["metrics"],
  queryFn: async (): Promise<Moment[]> => {
    const text = await (await send("/metrics")).text();
    history.push({ at: Date.now() / 1000, values: parse(text) });
    history.splice(0, history.length - MOMENTS);
    return [...history];
  },
  refetchInterval: EACH_MS,
};

export const health = queryOptions({
  queryKey: ["health"],
  queryFn: async () => (await fetch("/health")).json() as Promise<{ status: string; reason?: string }>,
  refetchInterval: 5_000,
});

export const audit = queryOptions({
  queryKey: ["audit"],
  queryFn: async () => ((await ask(api.GET("/v1/audit", { params: { query: { limit: 200 } } }))) as unknown as { data: Call[] }).data,
  refetchInterval: 10_000,
});

export const keys = queryOptions({ queryKey: ["keys"], queryFn: () => ask(api.GET("/v1/keys")), refetchInterval: 30_000 });
