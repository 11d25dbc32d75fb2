/** Some rows as the trainer sees them: what the model learns to say is marked. */
import { useState } from "react";
import { Button } from "../../parts/controls";
import type { Run } from "./api";

export function Rows({ samples }: { samples: Run["samples"] }) {
  const rows = Object.entries(samples).flatMap(([source, found]) => found.map((row) => ({ source, row })));
  const [chosen, setChosen] = useState(0);
  const shown = rows[Math.min(chosen, rows.length - 1)];
  if (!shown) return null;
  return (
    <section className="card column" aria-label="Rows as they are trained on">
      <div className="row spread">
        <h2>Rows as they are trained on</h2>
        <div className="row">
          <Button isDisabled={chosen === 0} onPress={() => setChosen(chosen - 1)}>
            Previous
          </Button>
          <span className="muted" role="status">
            {shown.source}, {chosen + 1} of {rows.length}
          </span>
          <Button isDisabled={chosen >= rows.length - 1} onPress={() => setChosen(chosen + 1)}>
            Next
          </Button>
        </div>
      </div>
      <p className="muted small marked">
        What the model learns to say is <mark>marked</mark>; the rest is only read.
      </p>
      <pre className="trained" tabIndex={0} aria-label="The row">
        {shown.row.map(([text, trained], index) => (trained ? <mark key={index}>{text}</mark> : <span key={index}>{text}</span>))}
      </pre>
    </section>
  );
}
