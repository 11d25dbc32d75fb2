/** Asks a name something as any client does, and reads in the log which model it was that answered. */
import { queryOptions } from "@tanstack/react-query";
import { api, ask, send } from "../../api/client";
import type { Alias } from "./api";

export interface Answered {
  /** The trajectory's. */
  id: string;
  model: string;
  weights: string | null;
  seconds: number;
}

/** What was answered before the name was moved is no answer now. */
export const probe = ({ id, history }: Alias) => queryOptions({ queryKey: ["probe", id, history.length], queryFn: () => whoAnswers(id), retry: false, staleTime: Infinity });

async function whoAnswers(alias: string): Promise<Answered> {
  const began = performance.now();
  const body = { model: alias, messages: [{ role: "user", content: "Hello." }], max_tokens: 8, metadata: { probe: alias } };
  const response = await send("/v1/chat/completions", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  await response.text();
  const seconds = (performance.now() - began) / 1000;
  const id = response.headers.get("x-trajectory-id")!;
  const { model } = await ask(api.GET("/v1/trajectories/{trajectory_id}", { params: { path: { trajectory_id: id } } }));
  return { id, model, weights: response.headers.get("x-weights-version"), seconds };
}
