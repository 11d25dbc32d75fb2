/** One version beside its parent: rewards, times, evaluations, the gate's verdict; and moving traffic to it. */
import { Link } from "react-router";
import { useKey } from "../../frame/session";
import { Badge } from "../../parts/controls";
import { Facts } from "../../parts/Facts";
import { duration, moment, number, short } from "../../parts/format";
import { toEvaluation } from "../../parts/links";
import { Share, signed, wilson } from "../../parts/Share";
import { Table } from "../../parts/Table";
import { Results } from "../evaluations/Results";
import type { Alias, Evaluation, Version } from "./api";
import { Promote } from "./Promote";

interface Pair {
  version: Version;
  parent: Version | undefined;
}

export function Beside({ version, parent, evaluations, aliases }: Pair & { evaluations: Evaluation[]; aliases: Alias[] }) {
  const key = useKey();
  return (
    <div className="column">
      <section className="card column" aria-label={version.id}>
        <div className="row spread">
          <h2 className="words">{version.id}</h2>
          {key.admin && <Promote version={version} aliases={aliases} />}
        </div>
        <Facts
          facts={[
            ["Made", moment(version.created)],
            ["From", version.parent ?? "no other"],
            ["Weights", <span className="mono small">{version.weights_version ?? "not read yet"}</span>],
            ["Rows", version.training.rows == null ? undefined : number(version.training.rows)],
            ["Steps", version.training.steps == null ? undefined : number(version.training.steps)],
            ["Loss", spelledLoss(version.training)],
          ]}
        />
        <Verdict version={version} />
      </section>
      <Records version={version} parent={parent} />
      {key.admin && <Measured version={version} evaluations={evaluations} />}
    </div>
  );
}

function spelledLoss(training: Version["training"]): string | undefined {
  const { first_loss: first, last_loss: last } = training;
  return first == null || last == null ? undefined : `${first.toFixed(3)} → ${last.toFixed(3)}`;
}

/** Measuring takes minutes to hours of the engine's time: the operator begins it, where the server's files are. */
function Unmeasured({ id }: { id: string }) {
  return (
    <p className="muted">
      The gate has not measured it beside its parent. <code className="words">agentlm models gate {id} --url {location.origin}</code> does.
    </p>
  );
}

function Verdict({ version: { id, verdict, verdict_error, parent } }: { version: Version }) {
  if (verdict_error) return <p className="complaint">{verdict_error}</p>;
  if (!verdict) return parent ? <Unmeasured id={id} /> : null;
  return (
    <div className="column">
      <p>
        <Badge tone={verdict.passed ? "good" : "bad"}>gate {verdict.passed ? "passed" : "failed"}</Badge> Gain over {verdict.incumbent}: {signed(verdict.gain)}
      </p>
      {verdict.reasons.length > 0 && (
        <ul>
          {verdict.reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Records({ version, parent }: Pair) {
  const both = parent ? [version, parent] : [version];
  return (
    <section className="card column" aria-label="In use">
      <h2>In use</h2>
      <Table
        rows={both}
        keyOf={({ id }) => id}
        columns={[
          { name: "Model", kind: "head", cell: ({ id }) => <Link to={`/trajectories?model=${encodeURIComponent(id)}`}>{id}</Link> },
          { name: "Reward, 95%", cell: ({ record }) => (record.mean_reward === null ? "none rewarded" : <Share value={record.mean_reward} interval={wilson(record.mean_reward, record.rewarded)} />) },
          { name: "Rewarded", kind: "number", cell: ({ record }) => `${number(record.rewarded)} of ${number(record.trajectories)}` },
          { name: "Turn", kind: "number", cell: ({ record }) => spelled(record.turn_seconds_median, duration) },
          { name: "9 of 10", kind: "number", cell: ({ record }) => spelled(record.turn_seconds_p90, duration) },
          { name: "Tokens/s", kind: "number", cell: ({ record }) => spelled(record.tokens_per_second, short) },
        ]}
      />
      <p className="muted small">Of the newest trajectories. A turn’s time is the median; nine of ten take no longer than the next figure.</p>
    </section>
  );
}

const spelled = (value: number | null, how: (value: number) => string): string => (value === null ? "–" : how(value));

/** Rows and differences of evaluations that are about this version. */
function Measured({ version, evaluations }: { version: Version; evaluations: Evaluation[] }) {
  const found = evaluations.flatMap(({ id, report }) => (report ? [{ id, report }] : [])).filter(({ report }) => report.rows.some((row) => row.model === version.id));
  return (
    <section className="card column" aria-label="Evaluations">
      <h2>Evaluations</h2>
      {found.length === 0 && <p className="muted">It was not measured, or not by this name.</p>}
      {found.map(({ id, report }) => (
        <div key={id} className="column">
          <h3>
            <Link to={toEvaluation(id)}>{id}</Link>
          </h3>
          <Results report={report} />
        </div>
      ))}
    </section>
  );
}
