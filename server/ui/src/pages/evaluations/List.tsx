import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { moment, number } from "../../parts/format";
import { toEvaluation } from "../../parts/links";
import { Gain, Share } from "../../parts/Share";
import { Empty, pending } from "../../parts/states";
import { type EvaluationObject, evaluations } from "./api";

export function List() {
  const query = useQuery(evaluations);
  return (
    <div className="page">
      <h1>Evaluations</h1>
      {pending(query, "evaluations") ?? <Found evaluations={query.data!.data} />}
    </div>
  );
}

function Found({ evaluations }: { evaluations: EvaluationObject[] }) {
  if (!evaluations.length) {
    return (
      <Empty title="Nothing was measured yet">
        <code>agentlm eval --model NAME --base OTHER</code> measures two models on the same tasks; so does the gate after a training.
      </Empty>
    );
  }
  return evaluations.map((each) => (
    <section key={each.id} className="card column" aria-label={each.id}>
      <div className="row spread">
        <h2 className="words">
          <Link to={toEvaluation(each.id)}>{each.id}</Link>
        </h2>
        <time className="muted small">{moment(each.created_at)}</time>
      </div>
      {each.report ? <Summary report={each.report} /> : <p className="complaint words">{each.error}</p>}
    </section>
  ));
}

function Summary({ report }: { report: NonNullable<EvaluationObject["report"]> }) {
  return (
    <div className="scroll" tabIndex={0}>
      <table className="plain">
        <thead>
          <tr>
            <th>Set</th>
            <th>Decoding</th>
            <th>Model</th>
            <th>Success, 95%</th>
            <th>Difference, 95%</th>
            <th className="number">Tries</th>
          </tr>
        </thead>
        <tbody>
          {report.rows.map((row) => {
            const gain = report.differences.find((one) => one.environment === row.environment && one.decoding === row.decoding && one.candidate === row.model);
            return (
              <tr key={`${row.environment} ${row.decoding} ${row.model}`}>
                <td>{row.environment}</td>
                <td>{row.decoding}</td>
                <td className="words">{row.model}</td>
                <td>
                  <Share value={row.success} interval={row.interval} floor={row.floors.all.constant} />
                </td>
                <td>{gain && <Gain value={gain.difference} interval={gain.interval} />}</td>
                <td className="number">
                  {number(row.judged)}
                  {row.judged < row.asked && <span className="complaint"> of {number(row.asked)}: incomplete</span>}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
