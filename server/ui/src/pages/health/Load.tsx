import { Curve } from "../../parts/Curve";
import type { Moment } from "./api";
import { sum } from "./prometheus";

const whole = (value: number) => String(Math.round(value));

/** Running and waiting over the last minutes. */
export function Load({ history }: { history: Moment[] }) {
  const over = (name: string) => history.map(({ values }) => sum(values, name) ?? null);
  return (
    <section className="card" aria-label="Load">
      <h2>Load</h2>
      <Curve
        label="Running and waiting, by time"
        over="time"
        times
        counts
        x={history.map(({ at }) => at)}
        spell={whole}
        lines={[
          { name: "running", values: over("agentlm_running"), tone: "accent" },
          { name: "waiting", values: over("vllm:num_requests_waiting"), tone: "warn" },
        ]}
      />
    </section>
  );
}
