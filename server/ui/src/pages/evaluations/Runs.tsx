/** Every run that failed, or all: why, and one click from what was said in it; others at the same task beside it. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { Badge, Button } from "../../parts/controls";
import { duration, number, reward } from "../../parts/format";
import { toTrajectory } from "../../parts/links";
import { Empty, Failure, Loading, pending } from "../../parts/states";
import { atTask, type Filter, type Report, type Run, runs } from "./api";

const CHOICES = ["environment", "model", "decoding", "group"] as const;
const GROUPS = ["refusal", "invented_name", "invalid_action", "repetition", "call_error", "limit", "wrong answer", "not judged"];

export function Runs({ id, report }: { id: string; report: Report }) {
  const [filter, setFilter] = useFilter();
  const query = useInfiniteQuery(runs(id, filter));
  const found = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card column" aria-label="Runs">
      <h2>Runs</h2>
      <Filters report={report} filter={filter} onChange={setFilter} />
      {query.error && !query.data && <Failure error={query.error} retry={query.refetch} />}
      {query.isPending && <Loading what="runs" />}
      {query.data && found.length === 0 && <Empty title="No such run">Evaluations of an earlier version kept no runs beside their report.</Empty>}
      <ul className="runs">
        {found.map((run) => (
          <OneRun key={run.id} evaluation={id} run={run} />
        ))}
      </ul>
      {query.hasNextPage && (
        <Button isDisabled={query.isFetchingNextPage} onPress={() => query.fetchNextPage()}>
          {query.isFetchingNextPage ? "Loading…" : "More"}
        </Button>
      )}
    </section>
  );
}

/** Kept in the address: what is sent to somebody shows the same runs. */
function useFilter(): [Filter, (filter: Filter) => void] {
  const [params, setParams] = useSearchParams();
  const runs = params.get("runs") ?? "failed";
  const filter: Filter = runs === "all" ? {} : { failed: runs === "failed" };
  for (const name of CHOICES) if (params.get(name)) filter[name] = params.get(name)!;
  const change = ({ failed, ...choices }: Filter) =>
    setParams({ runs: failed === undefined ? "all" : failed ? "failed" : "solved", ...choices }, { replace: true });
  return [filter, change];
}

function Filters({ report, filter, onChange }: { report: Report; filter: Filter; onChange: (filter: Filter) => void }) {
  const distinct = (name: "environment" | "model" | "decoding") => [...new Set(report.rows.map((row) => row[name]))];
  const choose = (name: keyof Filter, value: string) => {
    const { [name]: _, ...others } = filter;
    onChange(value ? { ...others, [name]: value } : others);
  };
  const one = (name: (typeof CHOICES)[number], label: string, words: string[]) => (
    <label className="field">
      <span className="label">{label}</span>
      <select value={filter[name] ?? ""} onChange={(event) => choose(name, event.target.value)}>
        <option value="">any</option>
        {words.map((word) => (
          <option key={word} value={word}>
            {word.replaceAll("_", " ")}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <div className="row" role="group" aria-label="Which runs">
      <label className="field">
        <span className="label">Runs</span>
        <select value={String(filter.failed ?? "")} onChange={({ target }) => onChange(withFailed(filter, target.value))}>
          <option value="true">failed</option>
          <option value="false">solved</option>
          <option value="">all</option>
        </select>
      </label>
      {one("group", "Why", GROUPS)}
      {one("model", "Model", distinct("model"))}
      {one("environment", "Set", distinct("environment"))}
      {one("decoding", "Decoding", distinct("decoding"))}
    </div>
  );
}

function withFailed(filter: Filter, word: string): Filter {
  const { failed: _, ...others } = filter;
  return word === "" ? others : { ...others, failed: word === "true" };
}

function OneRun({ evaluation, run }: { evaluation: string; run: Run }) {
  const [open, setOpen] = useState(false);
  return (
    <li>
      <div className="row spread">
        <p className="words">{run.instruction}</p>
        <Verdict run={run} />
      </div>
      <p className="row small muted">
        <Trajectory run={run} />
        <span>
          {run.model}, {run.decoding}
        </span>
        <span>
          {run.environment}, {run.family}
        </span>
        <span>{number(run.turns)} turns</span>
        <span>{duration(run.seconds)}</span>
        <span>reward {reward(run.reward)}</span>
        <button type="button" className="link" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Hide the others" : "Others at this task"}
        </button>
      </p>
      {run.error && <p className="complaint words">{run.error}</p>}
      {open && <Others evaluation={evaluation} run={run} />}
    </li>
  );
}

function Verdict({ run }: { run: Run }) {
  if (run.group == null) return <Badge tone="good">solved</Badge>;
  return (
    <span className="row">
      <Badge tone="bad">{run.group.replaceAll("_", " ")}</Badge>
      {run.error_classes?.filter((name) => name !== run.group).map((name) => <Badge key={name}>{name.replaceAll("_", " ")}</Badge>)}
    </span>
  );
}

function Trajectory({ run, beside }: { run: Run; beside?: Run }) {
  if (run.trajectory_id == null) return <span>not logged here</span>;
  if (beside?.trajectory_id == null) return <Link to={toTrajectory(run.trajectory_id)}>What was said</Link>;
  return <Link to={toTrajectory(beside.trajectory_id, run.trajectory_id)}>Side by side</Link>;
}

function Others({ evaluation, run }: { evaluation: string; run: Run }) {
  const query = useQuery(atTask(evaluation, run.task_id));
  const waiting = pending(query, "runs");
  if (waiting) return waiting;
  const others = query.data!.data.filter((other) => other.id !== run.id);
  if (!others.length) return <p className="muted small">Nobody else tried this task.</p>;
  return (
    <ul className="others small">
      {others.map((other) => (
        <li key={other.id} className="row">
          <Verdict run={other} /> {other.model}, {other.decoding}, try {other.attempt + 1} <Trajectory run={other} beside={run} />
        </li>
      ))}
    </ul>
  );
}
