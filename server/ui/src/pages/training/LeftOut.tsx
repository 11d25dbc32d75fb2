/** What became of the rows: how many are trained on, which filter left out how many, and examples with reasons. */
import { Link } from "react-router";
import { number } from "../../parts/format";
import { toTrajectory } from "../../parts/links";
import type { Found, Run, Source } from "./api";

export function LeftOut({ selection, sources }: Pick<Run, "selection" | "sources">) {
  const names = Object.keys(selection);
  if (!names.length) return null;
  return (
    <section className="card column" aria-label="What was left out, and why">
      <h2>What was left out, and why</h2>
      {names.map((name) => (
        <OfSource key={name} name={name} found={selection[name] as Found} source={sources[name] as Source | undefined} />
      ))}
    </section>
  );
}

function OfSource({ name, found, source }: { name: string; found: Found; source: Source | undefined }) {
  const filters = Object.entries(found.dropped);
  return (
    <div className="column">
      <h3>
        {name}: {number(found.kept)} of {number(found.rows)} rows kept
        {source && (
          <span className="muted small">
            {" "}
            · {number(source.tokens)} tokens, {number(source.trained_tokens)} of them trained on · longest row {number(source.longest)}
          </span>
        )}
      </h3>
      {filters.length === 0 && <p className="muted">Nothing was left out.</p>}
      {filters.map(([filter, count]) => (
        <details key={filter} className="filter">
          <summary>
            <span className="figures">{number(count)}</span> {filter.replaceAll("_", " ")}
          </summary>
          <ul>
            {(found.examples[filter] ?? []).map((example) => (
              <li key={example.trajectory + example.reason}>
                <Row id={example.trajectory} />: <span className="words">{example.reason}</span>
                {(example.count ?? 1) > 1 && <span className="muted"> ({number(example.count!)} such rows)</span>}
              </li>
            ))}
          </ul>
        </details>
      ))}
      <Notes found={found} />
    </div>
  );
}

/** A row of the log leads to it; one of a file is named by its line. */
function Row({ id }: { id: string }) {
  if (!/^[0-9a-f]{32}$/.test(id)) return <span className="mono">{id}</span>;
  return (
    <Link className="mono" to={toTrajectory(id)}>
      {id.slice(0, 12)}…
    </Link>
  );
}

function Notes({ found }: { found: Found }) {
  const scrubbed = Object.entries(found.scrubbed ?? {});
  return (
    <>
      {scrubbed.length > 0 && <p>Scrubbed: {scrubbed.map(([kind, count]) => `${number(count)} × ${kind}`).join(", ")}.</p>}
      {!!found.rendered_anew && <p>{number(found.rendered_anew)} rows were recorded under another tokenizer or template and are rendered anew.</p>}
      {!!found.out_of_form && <p className="complaint">{number(found.out_of_form)} rows are not in the form that is served (with a Thought, or without).</p>}
    </>
  );
}
