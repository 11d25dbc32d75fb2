import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { moment, number, percent } from "../../parts/format";
import { Gain, Share, spelledInterval } from "../../parts/Share";
import { pending } from "../../parts/states";
import { evaluation, type Report } from "./api";
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
  const parts = [split && `${split} tasks`, seed !== undefined && `seed ${seed}`, temperature !== undefined && `temperature ${temperature}`];
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

const keyOf = (row: Report["rows"][number]) => `${row.environment} ${row.decoding} ${row.model}`;

function Success({ report }: { report: Report }) {
  return (
    <section className="card column" aria-label="Success">
      <h2>Success</h2>
      <p className="muted small">Solved tries, with Wilson’s 95% interval over tasks. The upright mark is what the best answer that never changes would score.</p>
      <div className="scroll" tabIndex={0}>
        <table className="plain">
          <thead>
            <tr>
              <th>Set</th>
              <th>Decoding</th>
              <th>Model</th>
              <th>Success, 95%</th>
              <th className="number">Constant</th>
              <th className="number">Chance</th>
              <th className="number">Reward</th>
              <th className="number">Tries</th>
              <th>Weights</th>
            </tr>
          </thead>
          <tbody>
            {report.rows.map((row) => (
              <tr key={keyOf(row)}>
                <td>{row.environment}</td>
                <td>{row.decoding}</td>
                <td className="words">{row.model}</td>
                <td>
                  <Share value={row.success} interval={row.interval} floor={row.floors.all.constant} />
                </td>
                <td className="number">{percent(row.floors.all.constant)}</td>
                <td className="number">{percent(row.floors.all.random)}</td>
                <td className="number">{row.reward.toFixed(3)}</td>
                <td className="number">
                  {number(row.judged)}
                  {row.judged < row.asked && <span className="complaint"> of {number(row.asked)}</span>}
                </td>
                <td className="mono small">{row.played.weights_version ?? "not told"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Differences({ report }: { report: Report }) {
  return (
    <section className="card column" aria-label="Candidate minus base">
      <h2>Candidate minus base</h2>
      <p className="muted small">On the tasks that both have a result for; a paired bootstrap over the schemas and scenes that tasks share.</p>
      <div className="scroll" tabIndex={0}>
        <table className="plain">
          <thead>
            <tr>
              <th>Set</th>
              <th>Decoding</th>
              <th>Candidate</th>
              <th>Base</th>
              <th>Difference, 95%</th>
              <th className="number">Tasks</th>
            </tr>
          </thead>
          <tbody>
            {report.differences.map((each) => (
              <tr key={each.environment + each.decoding}>
                <td>{each.environment}</td>
                <td>{each.decoding}</td>
                <td className="words">{each.candidate}</td>
                <td className="words">{each.base}</td>
                <td>
                  <Gain value={each.difference} interval={each.interval} />
                </td>
                <td className="number">{number(each.tasks)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Conduct({ report }: { report: Report }) {
  const classes = Object.keys(report.rows[0]?.error_classes ?? {});
  return (
    <section className="card column" aria-label="How the tries went">
      <h2>How the tries went</h2>
      <p className="muted small">Shares of the tries that show each class of error, and means per try.</p>
      <div className="scroll" tabIndex={0}>
        <table className="plain">
          <thead>
            <tr>
              <th>Set</th>
              <th>Decoding</th>
              <th>Model</th>
              {classes.map((name) => (
                <th key={name} className="number">
                  {name.replaceAll("_", " ")}
                </th>
              ))}
              <th className="number">turns</th>
              <th className="number">tokens</th>
              <th className="number">seconds</th>
            </tr>
          </thead>
          <tbody>
            {report.rows.map((row) => (
              <tr key={keyOf(row)}>
                <td>{row.environment}</td>
                <td>{row.decoding}</td>
                <td className="words">{row.model}</td>
                {classes.map((name) => (
                  <td key={name} className={`number ${heat(row.error_classes[name] ?? 0)}`}>
                    {percent(row.error_classes[name] ?? 0)}
                  </td>
                ))}
                <td className="number">{row.turns.toFixed(1)}</td>
                <td className="number">{number(Math.round(row.completion_tokens))}</td>
                <td className="number">{row.seconds.toFixed(1)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** How loud a share of errors is. */
const heat = (share: number): string => (share >= 0.25 ? "hot" : share >= 0.05 ? "warm" : "");

function Kinds({ report }: { report: Report }) {
  const kinds = [...new Set(report.rows.flatMap((row) => Object.keys(row.families).map((family) => `${row.environment}\n${family}`)))];
  return (
    <details className="card">
      <summary>By kind of problem: {kinds.length}</summary>
      <div className="scroll" tabIndex={0}>
        <table className="plain">
          <thead>
            <tr>
              <th>Set</th>
              <th>Kind</th>
              {report.rows.map((row) => (
                <th key={keyOf(row)} className="number">
                  {row.model}, {row.decoding}
                  {report.rows.some((other) => other.environment !== row.environment) && ` (${row.environment})`}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {kinds.map((kind) => {
              const [environment, family] = kind.split("\n") as [string, string];
              return (
                <tr key={kind}>
                  <td>{environment}</td>
                  <td>{family}</td>
                  {report.rows.map((row) => (
                    <td key={keyOf(row)} className="number">
                      {row.environment === environment && row.families[family] ? row.families[family].join(" of ") : ""}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Abilities({ report }: { report: Report }) {
  return (
    <section className="card column" aria-label="General ability">
      <h2>General ability</h2>
      <div className="scroll" tabIndex={0}>
        <table className="plain">
          <thead>
            <tr>
              <th>Measure</th>
              <th>Model</th>
              <th className="number">Value</th>
              <th>95%</th>
              <th className="number">Cases</th>
            </tr>
          </thead>
          <tbody>
            {report.abilities.map((each) => (
              <tr key={each.measure + each.model}>
                <td>{each.measure}</td>
                <td className="words">{each.model}</td>
                <td className="number">{each.value == null ? `not measured: ${each.skipped}` : each.interval ? percent(each.value) : each.value.toFixed(2)}</td>
                <td>{each.interval && spelledInterval(each.interval)}</td>
                <td className="number">{number(each.cases)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
