/** Each tool with its failures, and the last calls that did not go well. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { Badge } from "../../parts/controls";
import { duration, number, percent, when } from "../../parts/format";
import { toTrajectory } from "../../parts/links";
import { pending } from "../../parts/states";
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
        <div className="scroll" tabIndex={0}>
          <table className="plain">
            <thead>
              <tr>
                <th>Tool</th>
                <th className="number">Calls</th>
                <th className="number">Failed</th>
                <th className="number">Time, mean</th>
              </tr>
            </thead>
            <tbody>
              {tools.map((tool) => {
                const calls = sum(values, CALLS, { tool }) ?? 0;
                const failed = sum(values, CALLS, { tool, failed: "true" }) ?? 0;
                const seconds = mean(values, "agentlm_tool_seconds", { tool });
                return (
                  <tr key={tool}>
                    <th scope="row">{tool}</th>
                    <td className="number">{number(calls)}</td>
                    <td className="number">
                      {number(failed)} {failed > 0 && <span className="muted">({percent(failed / calls)})</span>}
                    </td>
                    <td className="number">{seconds === undefined ? "–" : duration(seconds)}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      <h3>Lately not well</h3>
      {pending(query, "calls") ?? <Failures calls={query.data!.filter((call) => call.verdict !== "ok").slice(0, SHOWN)} />}
    </section>
  );
}

function Failures({ calls }: { calls: Call[] }) {
  if (!calls.length) return <p className="muted">Of the last 200 calls none failed.</p>;
  return (
    <div className="scroll" tabIndex={0}>
      <table className="plain">
        <thead>
          <tr>
            <th>When</th>
            <th>Tool</th>
            <th>How it ended</th>
            <th>Whose</th>
            <th className="number">Time</th>
            <th>Where</th>
          </tr>
        </thead>
        <tbody>
          {calls.map((call) => (
            <tr key={call.id}>
              <td>{when(call.created)}</td>
              <td>{call.tool}</td>
              <td>
                <Badge tone={call.verdict === "failed" ? "warn" : "bad"}>{call.verdict}</Badge>
              </td>
              <td>{call.owner}</td>
              <td className="number">{duration(call.seconds)}</td>
              <td>
                <Link to={toTrajectory(call.trajectory_id)}>trajectory</Link>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
