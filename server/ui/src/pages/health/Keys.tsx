import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { Badge } from "../../parts/controls";
import { number, short, when } from "../../parts/format";
import { pending } from "../../parts/states";
import { type KeyUse, keys } from "./api";

/** Who may ask, and what they used. */
export function Keys() {
  const query = useQuery(keys);
  return (
    <section className="card column" aria-label="Keys and their use">
      <h2>Keys and their use</h2>
      {pending(query, "keys") ?? <Table keys={query.data!.data} />}
    </section>
  );
}

function Table({ keys }: { keys: KeyUse[] }) {
  if (!keys.length) return <p className="muted">No key was made, and nothing is in the log.</p>;
  return (
    <div className="scroll" tabIndex={0}>
      <table className="plain">
        <thead>
          <tr>
            <th>Key</th>
            <th>May</th>
            <th className="number">Trajectories</th>
            <th className="number">Tokens sampled</th>
            <th className="number">Tokens read</th>
            <th>Last used</th>
          </tr>
        </thead>
        <tbody>
          {keys.map(({ id, key, use }) => (
            <tr key={id}>
              <th scope="row">
                <Link to={`/trajectories?owner=${encodeURIComponent(id)}`}>{id}</Link>
              </th>
              <td>
                <Rights of={key} />
              </td>
              <td className="number">{number(use?.trajectories ?? 0)}</td>
              <td className="number">{short(use?.sampled_tokens ?? 0)}</td>
              <td className="number">{short(use?.prompt_tokens ?? 0)}</td>
              <td>{use ? when(use.last_used) : "never"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Rights({ of: key }: { of: KeyUse["key"] }) {
  if (!key) return <span className="muted">no key of its own</span>;
  return (
    <span className="row">
      {key.revoked != null && <Badge tone="bad">revoked</Badge>}
      {key.admin && <Badge tone="accent">administrator</Badge>}
      {key.may_decide && <Badge>decides on calls</Badge>}
      {key.log === "metadata" && <Badge>only counted</Badge>}
      {key.may_train === false && <Badge>not trained on</Badge>}
      {key.tools && <Badge>tools: {key.tools.join(", ") || "none"}</Badge>}
      {key.requests_per_minute != null && <Badge>{key.requests_per_minute} a minute</Badge>}
    </span>
  );
}
