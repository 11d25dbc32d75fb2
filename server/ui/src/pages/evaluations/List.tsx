import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { moment } from "../../parts/format";
import { toEvaluation } from "../../parts/links";
import { Empty, pending } from "../../parts/states";
import { type EvaluationObject, evaluations } from "./api";
import { Results } from "./Results";

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
      {each.report ? <Results report={each.report} /> : <p className="complaint words">{each.error}</p>}
    </section>
  ));
}
