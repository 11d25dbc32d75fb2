import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { Badge } from "../../parts/controls";
import { number, short, when } from "../../parts/format";
import { pending } from "../../parts/states";
import { Table } from "../../parts/Table";
import { type KeyUse, keys } from "./api";

/** Who may ask, and what they used. */
export function Keys() {
  const query = useQuery(keys);
  return (
    <section className="card column" aria-label="Keys and their use">
      <h2>Keys and their use</h2>
      {pending(query, "keys") ?? <Use keys={query.data!.data} />}
    </section>
  );
}

function Use({ keys }: { keys: KeyUse[] }) {
  if (!keys.length) return <p className="muted">No key was made, and nothing is in the log.</p>;
  return (
    <Table
      rows={keys}
      keyOf={({ id }) => id}
      columns={[
        { name: "Key", kind: "head", cell: ({ id }) => <Link to={`/trajectories?owner=${encodeURIComponent(id)}`}>{id}</Link> },
        { name: "May", cell: ({ key }) => <Rights of={key} /> },
        { name: "Trajectories", kind: "number", cell: ({ use }) => number(use?.trajectories ?? 0) },
        { name: "Tokens sampled", kind: "number", cell: ({ use }) => short(use?.sampled_tokens ?? 0) },
        { name: "Tokens read", kind: "number", cell: ({ use }) => short(use?.prompt_tokens ?? 0) },
        { name: "Last used", cell: ({ use }) => <span className="figures">{use ? when(use.last_used) : "never"}</span> },
      ]}
    />
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
