/** What this page asks of the API. */
import { queryOptions } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import type { EvaluationObject } from "../evaluations/api";

const listVersions = () => ask(api.GET("/v1/registry"));
const listAliases = () => ask(api.GET("/v1/aliases"));

export type Version = Awaited<ReturnType<typeof listVersions>>["data"][number];
export type Alias = Awaited<ReturnType<typeof listAliases>>["data"][number];
export type Evaluation = EvaluationObject;

export const versions = queryOptions({ queryKey: ["registry"], queryFn: listVersions, refetchInterval: 15_000 });
export const aliases = queryOptions({ queryKey: ["aliases"], queryFn: listAliases, refetchInterval: 15_000 });
export { evaluations } from "../evaluations/api";
