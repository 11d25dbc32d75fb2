import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { moment, number, percent } from "../../parts/format";
import { Gain, spelledInterval } from "../../parts/Share";
import { pending } from "../../parts/states";
import { type Column, Table } from "../../parts/Table";
import { evaluation, type Report } from "./api";
import { decodings, keyOf, type Row, success, tries, which } from "./Results";
import { Runs } from "./Runs";

export function Evaluation() {
  const id = useParams().id!;
  const query = useQuery(evaluation(id));
  return (
    <div className="page">
      <p className="small">
        <Link to="/evaluations">All evaluations</Link>
      </p>
      {pending(query, "the evaluation") ?? (
        <>
          <h1 className="words">{id}</h1>
          <p className="muted small">
            {moment(query.data!.created_at)} · {about(query.data!.report)}
          </p>
          {query.data!.report ? <Whole id={id} report={query.data!.report} /> : <p className="card complaint words">{query.data!.error}</p>}
        </>
      )}
    </div>
  );
}

function about(report: Report | null | undefined): string {
  const { split, seed, temperature } = (report?.settings ?? {}) as Record<string, string | number | undefined>;
  const decoding = report && decodings(report);
  const parts = [split && `${split} tasks`, decoding?.length === 1 && `${decoding[0]} decoding`, seed !== undefined && `seed ${seed}`, temperature !== undefined && `temperature ${temperature}`];
  return parts.filter(Boolean).join(" · ");
}

function Whole({ id, report }: { id: string; report: Report }) {
  return (
    <>
      <Success report={report} />
      {report.differences.length > 0 && <Differences report={report} />}
      <Conduct report={report} />
      <Kinds report={report} />
      {report.abilities.length > 0 && <Abilities report={report} />}
      <Runs id={id} report={report} />
    </>
  );
}

function Success({ report }: { report: Report }) {
  return (
    <section className="card column" aria-label="Success">
      <h2>Success</h2>
      <p className="muted small">Solved tries, with Wilson’s 95% interval over tasks. The upright mark is what the best answer that never changes would score.</p>
      <Table
        rows={report.rows}
        keyOf={keyOf}
        columns={[
          ...which(report),
          success,
          { name: "Constant", kind: "number", cell: (row) => percent(row.floors.all.constant) },
          { name: "Chance", kind: "number", cell: (row) => percent(row.floors.all.random) },
          { name: "Reward", kind: "number", cell: (row) => row.reward.toFixed(3) },
          tries,
          { name: "Weights", cell: (row) => <span className="mono small">{row.played.weights_version?.slice(0, 19) ?? "not told"}</span> },
        ]}
      />
    </section>
  );
}

function Differences({ report }: { report: Report }) {
  return (
    <section className="card column" aria-label="Candidate minus base">
      <h2>Candidate minus base</h2>
      <p className="muted small">On the tasks that both have a result for; a paired bootstrap over the schemas and scenes that tasks share.</p>
      <Table
        rows={report.differences}
        keyOf={(each) => each.environment + each.decoding}
        columns={[
          { name: "Set", cell: (each) => each.environment },
          decodings(report).length > 1 && { name: "Decoding", cell: (each) => each.decoding },
          { name: "Candidate", kind: "words", cell: (each) => each.candidate },
          { name: "Base", kind: "words", cell: (each) => each.base },
          { name: "Difference, 95%", cell: (each) => <Gain value={each.difference} interval={each.interval} /> },
          { name: "Tasks", kind: "number", cell: (each) => number(each.tasks) },
        ]}
      />
    </section>
  );
}

function Conduct({ report }: { report: Report }) {
  const classes = Object.keys(report.rows[0]?.error_classes ?? {});
  const share = (row: Row, name: string) => row.error_classes[name] ?? 0;
  return (
    <section className="card column" aria-label="How the tries went">
      <h2>How the tries went</h2>
      <p className="muted small">Shares of the tries that show each class of error, and means per try.</p>
      <Table
        rows={report.rows}
        keyOf={keyOf}
        columns={[
          ...which(report),
          ...classes.map(
            (name): Column<Row> => ({ name: name.replaceAll("_", " "), kind: "number", tone: (row) => heat(share(row, name)), cell: (row) => percent(share(row, name)) }),
          ),
          { name: "turns", kind: "number", cell: (row) => row.turns.toFixed(1) },
          { name: "tokens", kind: "number", cell: (row) => number(Math.round(row.completion_tokens)) },
          { name: "seconds", kind: "number", cell: (row) => row.seconds.toFixed(1) },
        ]}
      />
    </section>
  );
}

/** How loud a share of errors is. */
const heat = (share: number): string => (share >= 0.25 ? "hot" : share >= 0.05 ? "warm" : "");

/** Each kind of problem in its row, each model in a column. */
function Kinds({ report }: { report: Report }) {
  const kinds = [...new Set(report.rows.flatMap((row) => Object.keys(row.families).map((family) => `${row.environment}\n${family}`)))];
  const several = decodings(report).length > 1;
  const column = (row: Row) => (several ? `${row.model}, ${row.decoding}` : row.model);
  const solved = (kind: string, name: string) => {
    const [environment, family] = kind.split("\n") as [string, string];
    const row = report.rows.find((each) => each.environment === environment && column(each) === name);
    return row?.families[family]?.join(" of ");
  };
  return (
    <details className="card">
      <summary>By kind of problem: {kinds.length}</summary>
      <Table
        rows={kinds}
        keyOf={(kind) => kind}
        columns={[
          { name: "Set", cell: (kind) => kind.split("\n")[0] },
          { name: "Kind", cell: (kind) => kind.split("\n")[1]!.replaceAll("_", " ") },
          ...[...new Set(report.rows.map(column))].map((name): Column<string> => ({ name, kind: "number", cell: (kind) => solved(kind, name) })),
        ]}
      />
    </details>
  );
}

function Abilities({ report }: { report: Report }) {
  return (
    <section className="card column" aria-label="General ability">
      <h2>General ability</h2>
      <Table
        rows={report.abilities}
        keyOf={(each) => each.measure + each.model}
        columns={[
          { name: "Measure", cell: (each) => each.measure },
          { name: "Model", kind: "words", cell: (each) => each.model },
          { name: "Value", kind: "number", cell: (each) => (each.value == null ? `not measured: ${each.skipped}` : each.interval ? percent(each.value) : each.value.toFixed(2)) },
          { name: "95%", cell: (each) => each.interval && spelledInterval(each.interval) },
          { name: "Cases", kind: "number", cell: (each) => number(each.cases) },
        ]}
      />
    </section>
  );
}
