/** Where a trajectory forked from and what forked from it, as a tree; and the models that learnt from it. */
import { useQuery } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import type { Answer } from "../../api/types";
import { Badge } from "../../parts/controls";
import { moment, reward } from "../../parts/format";
import { pending } from "../../parts/states";
import { Outcome } from "./Outcome";

type FamilyAnswer = Answer<"/v1/trajectories/{trajectory_id}/family">;
type Member = FamilyAnswer["data"][number];

export function readFamily(id: string, signal?: AbortSignal): Promise<FamilyAnswer> {
  return ask(api.GET("/v1/trajectories/{trajectory_id}/family", { params: { path: { trajectory_id: id } }, signal }));
}

interface Props {
  id: string;
  onOpen: (id: string) => void;
  onBeside?: (id: string) => void;
}

export function Family({ id, onOpen, onBeside }: Props) {
  const family = useQuery({ queryKey: ["trajectories", "family", id], queryFn: ({ signal }) => readFamily(id, signal) });
  const waiting = pending(family, "forks");
  if (waiting) return waiting;
  const members = family.data!.data;
  const known = new Set(members.map((each) => each.id));
  const roots = members.filter((each) => each.parent_id === null || !known.has(each.parent_id));
  return (
    <div className="family">
      {members.length === 1 && <p className="muted">Nothing forked from it, and it forked from nothing.</p>}
      <Branch of={roots} all={members} {...{ id, onOpen, onBeside }} />
      {family.data!.has_more && <p className="muted">There are more forks than are shown.</p>}
      <h3>Models that learnt from it</h3>
      {family.data!.models.length === 0 ? (
        <p className="muted">None.</p>
      ) : (
        <div className="row">
          {family.data!.models.map((name) => (
            <Badge key={name} tone="accent">
              {name}
            </Badge>
          ))}
        </div>
      )}
    </div>
  );
}

function Branch({ of, all, ...props }: Props & { of: Member[]; all: Member[] }) {
  if (of.length === 0) return null;
  return (
    <ul>
      {of.map((each) => (
        <li key={each.id}>
          <span className="row">
            {each.id === props.id ? (
              <strong className="mono small">{each.id}</strong>
            ) : (
              <button type="button" className="link mono small" onClick={() => props.onOpen(each.id)}>
                {each.id}
              </button>
            )}
            {each.parent_id && <span className="muted small">from step {each.parent_step}</span>}
            <Outcome outcome={each.outcome} />
            <span className="muted small">
              {moment(each.created)} · reward {reward(each.reward)}
            </span>
            {props.onBeside && each.id !== props.id && (
              <button type="button" className="link small" onClick={() => props.onBeside!(each.id)}>
                beside this one
              </button>
            )}
          </span>
          <Branch of={all.filter((other) => other.parent_id === each.id)} all={all} {...props} />
        </li>
      ))}
    </ul>
  );
}
