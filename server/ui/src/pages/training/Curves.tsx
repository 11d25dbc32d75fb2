import { useState } from "react";
import { Curve, type Line } from "../../parts/Curve";
import type { Run } from "./api";

const spellLoss = (value: number) => value.toFixed(3);
const spellRate = (value: number) => value.toExponential(1);
const spellCount = (value: number) => Math.round(value).toLocaleString();

const KINDS: { name: string; spell: (value: number) => string; lines: (curve: Run["curve"]) => Line[] }[] = [
  {
    name: "Loss",
    spell: spellLoss,
    lines: (curve) => {
      const trained: Line = { name: "trained on", values: curve.loss, tone: "accent" };
      const heldOut: Line = { name: "held out", values: curve.held_out_loss, tone: "warn" };
      return curve.held_out_loss.some((value) => value !== null) ? [trained, heldOut] : [trained];
    },
  },
  { name: "Tokens a second", spell: spellCount, lines: (curve) => [{ name: "tokens a second", values: curve.tokens_per_second, tone: "good" }] },
  { name: "Learning rate", spell: spellRate, lines: (curve) => [{ name: "learning rate", values: curve.learning_rate, tone: "accent" }] },
  { name: "Gradient norm", spell: spellLoss, lines: (curve) => [{ name: "gradient norm", values: curve.gradient_norm, tone: "warn" }] },
];

/** The run's curves, one at a time. */
export function Curves({ run }: { run: Run }) {
  const [chosen, setChosen] = useState(0);
  const kind = KINDS[chosen]!;
  return (
    <section className="card column" aria-label="Curves">
      <div className="row" role="group" aria-label="Which curve">
        {KINDS.map(({ name }, index) => (
          <button key={name} type="button" className={`button ${index === chosen ? "on" : ""}`} aria-pressed={index === chosen} onClick={() => setChosen(index)}>
            {name}
          </button>
        ))}
      </div>
      <Curve key={kind.name} label={`${kind.name} by step`} over="step" x={run.curve.step} lines={kind.lines(run.curve)} spell={kind.spell} />
    </section>
  );
}
