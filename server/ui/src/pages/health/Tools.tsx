/** Each tool with its failures, and the last calls that did not go well. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { Badge } from "../../parts/controls";
import { duration, number, percent, when } from "../../parts/format";
import { toTrajectory } from "../../parts/links";
import { pending } from "../../parts/states";
import { Table } from "../../parts/Table";
import { audit, type Call, type Moment } from "./api";
import { labelled, mean, sum } from "./prometheus";

const CALLS = "agentlm_tool_calls_total";
const SHOWN = 12;

export function Tools({ samples: { values } }: { samples: Moment }) {
  const query = useQuery(audit);
  const tools = labelled(values, CALLS, "tool");
  return (
    <section className="card column" aria-label="Tools">
      <h2>Tools</h2>
      {tools.length === 0 ? (
        <p className="muted">No tool was called since the server was started.</p>
      ) : (
        <Table
          rows={tools.map((tool) => used(values, tool))}
          keyOf={({ tool }) => tool}
          columns={[
            { name: "Tool", kind: "head", cell: ({ tool }) => tool },
            { name: "Calls", kind: "number", cell: ({ calls }) => number(calls) },
            { name: "Failed", kind: "number", cell: ({ calls, failed }) => (failed ? `${number(failed)} (${percent(failed / calls)})` : "0") },
            { name: "Time, mean", kind: "number", cell: ({ seconds }) => (seconds === undefined ? "–" : duration(seconds)) },
          ]}
        />
      )}
      <h3>Lately not well</h3>
      {pending(query, "calls") ?? <Failures calls={query.data!.filter((call) => call.verdict !== "ok").slice(0, SHOWN)} />}
    </section>
  );
}

function Failures({ calls }: { calls: Call[] }) {
  if (!calls.length) return <p className="muted">Of the last 200 calls none failed.</p>;
  return (
    <Table
      rows={calls}
      keyOf={(call) => String(call.id)}
      columns={[
        { name: "When", cell: (call) => <span className="figures">{when(call.created)}</span> },
        { name: "Tool", cell: (call) => call.tool },
        { name: "How it ended", cell: (call) => <Badge tone={call.verdict === "failed" ? "warn" : "bad"}>{call.verdict}</Badge> },
        { name: "Whose", cell: (call) => call.owner },
        { name: "Time", kind: "number", cell: (call) => duration(call.seconds) },
        { name: "Where", cell: (call) => <Link to={toTrajectory(call.trajectory_id)}>trajectory</Link> },
      ]}
    />
  );
}

function used(values: Moment["values"], tool: string) {
  return {
    tool,
    calls: sum(values, CALLS, { tool }) ?? 0,
    failed: sum(values, CALLS, { tool, failed: "true" }) ?? 0,
    seconds: mean(values, "agentlm_tool_seconds", { tool }),
  };
}
