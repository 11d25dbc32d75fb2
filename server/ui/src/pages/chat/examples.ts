/** Tasks to begin with, which the model that is asked is known to solve: a test asks each of it. */
import type { Model } from "../../api/types";
import TESTED from "./examples.json";

export interface Example {
  text: string;
  tools: string[];
}

/** What the smallest model solves that acts; who knows none of a model expects no less of it. */
const LEAST = "agentlm-135m";

/** An alias is what it means; a successor is taken for what it was trained from. */
export function examplesOf(model: Model | undefined): Example[] {
  const tested: Record<string, Example[]> = TESTED;
  const { id, root, parent } = (model ?? {}) as Partial<Record<"id" | "root" | "parent", string | null>>;
  for (const name of [id, root, parent]) if (name && tested[name]) return tested[name];
  return tested[LEAST]!;
}
