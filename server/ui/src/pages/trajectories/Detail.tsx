/** One trajectory: what it is, how good it was, and what happened in it, in the view that is chosen. */
import { useQuery } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import type { Trajectory } from "../../api/types";
import { Badge, Button } from "../../parts/controls";
import { moment, number, reward, short } from "../../parts/format";
import { pending } from "../../parts/states";
import { Family } from "./Family";
import { Judgement } from "./Judgement";
import { Outcome } from "./Outcome";
import { Raw } from "./Raw";
import { Timeline } from "./Timeline";
import { Tokens } from "./Tokens";

const VIEWS = { timeline: "Timeline", tokens: "Tokens", raw: "Raw", forks: "Forks" } as const;
type View = keyof typeof VIEWS;

interface Props {
  id: string;
  view: string;
  onView: (view: string) => void;
  onOpen: (id: string) => void;
  onBeside?: (id: string) => void;
  onClose: () => void;
}

export function useTrajectory(id: string) {
  return useQuery({
    queryKey: ["trajectories", "one", id],
    queryFn: ({ signal }) =>
      ask(api.GET("/v1/trajectories/{trajectory_id}", { params: { path: { trajectory_id: id } }, signal })) as Promise<Trajectory>,
    refetchInterval: ({ state }) => (state.data?.outcome === "running" ? 1_000 : false),
  });
}

export function Detail({ id, view, onView, onOpen, onBeside, onClose }: Props) {
  const trajectory = useTrajectory(id);
  const shown: View = view in VIEWS ? (view as View) : "timeline";
  return (
    <section className="detail" aria-label={`Trajectory ${id}`} onKeyDown={(event) => event.key === "Escape" && onClose()}>
      <header className="row spread">
        <h2 className="mono identity" title={id}>
          {trajectory.data?.id ?? id}
        </h2>
        <Button kind="quiet" aria-label="Close this trajectory" onPress={onClose}>
          ✕
        </Button>
      </header>
      {pending(trajectory, "the trajectory") ?? (
        <>
          <About trajectory={trajectory.data!} />
          <Judgement trajectory={trajectory.data!} />
          <div className="row views" role="group" aria-label="View">
            {(Object.keys(VIEWS) as View[]).map((name) => (
              <Button key={name} className={name === shown ? "on" : ""} aria-pressed={name === shown} onPress={() => onView(name)}>
                {VIEWS[name]}
              </Button>
            ))}
          </div>
          <div className="view">
            {shown === "timeline" && <Timeline trajectory={trajectory.data!} />}
            {shown === "tokens" && <Tokens trajectory={trajectory.data!} />}
            {shown === "raw" && <Raw trajectory={trajectory.data!} />}
            {shown === "forks" && <Family id={trajectory.data!.id} onOpen={onOpen} onBeside={onBeside} />}
          </div>
        </>
      )}
    </section>
  );
}

function About({ trajectory }: { trajectory: Trajectory }) {
  const tokens = trajectory.steps.reduce((sum, step) => sum + (step.token_ids?.length ?? 0), 0);
  const tags = Object.entries(trajectory.metadata).filter(([, value]) => typeof value === "string");
  return (
    <div className="row about">
      <Outcome outcome={trajectory.outcome} />
      {trajectory.outcome === "running" && <span className="muted">it goes on as you look</span>}
      <Badge tone={trajectory.reward == null ? "neutral" : trajectory.reward >= 0.5 ? "good" : "bad"}>
        {trajectory.reward == null ? "not judged" : `reward ${reward(trajectory.reward)}`}
      </Badge>
      <span>{trajectory.model}</span>
      <span className="muted">
        {trajectory.environment ? `${trajectory.environment}, task ${trajectory.task_id ?? "unnamed"}` : trajectory.source} · {moment(trajectory.created)} ·{" "}
        {trajectory.owner} · {number(trajectory.steps.length)} steps · {short(tokens)} tokens
      </span>
      {!trajectory.may_train && <Badge tone="warn">not to be trained on</Badge>}
      {tags.map(([name, value]) => (
        <Badge key={name} title={`Tag ${name}`}>
          {name}={String(value)}
        </Badge>
      ))}
    </div>
  );
}
