/** Names for what the API answers with; all of them are generated from its OpenAPI document. */
import type { paths } from "./schema";

type Json<T> = T extends { responses: { 200: { content: { "application/json": infer Body } } } } ? Body : never;

/** The body of a GET. */
export type Answer<Path extends keyof paths> = Json<paths[Path]["get"]>;
/** One of a list. */
export type Item<Path extends keyof paths> = Answer<Path> extends { data: (infer One)[] } ? One : never;

/** Our own types are written with every field; the document calls those optional that are made when a record is. */
export type Whole<T> = T extends (infer One)[] ? Whole<One>[] : T extends object ? { [Name in keyof T]-?: Whole<T[Name]> } : T;

export type Key = Answer<"/v1/key">;
export type Header = Whole<Item<"/v1/trajectories">>;
export type Trajectory = Whole<Answer<"/v1/trajectories/{trajectory_id}">>;
export type Step = Trajectory["steps"][number];
export type Feedback = Trajectory["feedback"][number];
export type Model = Item<"/v1/models">;
