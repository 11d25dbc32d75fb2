/** Versions as a tree, each under the one that it was trained from, drawn with lines between. */
import { Badge } from "../../parts/controls";
import { reward } from "../../parts/format";
import { grouped } from "../../parts/group";
import type { Version } from "./api";

interface Shown {
  versions: Version[];
  chosen: string | undefined;
  onChoose: (id: string) => void;
}

export function Lineage({ versions, chosen, onChoose }: Shown) {
  const known = new Set(versions.map((version) => version.id));
  const children = grouped(versions, (version): string | null => (version.parent && known.has(version.parent) ? version.parent : null));
  const used = (version: Version): boolean => version.served || version.aliases.length > 0 || version.record.trajectories > 0 || children.has(version.id);
  const roots = children.get(null) ?? [];
  const idle = roots.filter((version) => !used(version));
  const branch = (version: Version) => <Branch key={version.id} version={version} children={children} chosen={chosen} onChoose={onChoose} />;
  return (
    <>
      <ul className="lineage">{roots.filter(used).map(branch)}</ul>
      {idle.length > 0 && (
        <details open={idle.some((version) => version.id === chosen) || undefined}>
          <summary className="muted small">{idle.length} more, never used here</summary>
          <ul className="lineage">{idle.map(branch)}</ul>
        </details>
      )}
    </>
  );
}

interface Node extends Omit<Shown, "versions"> {
  version: Version;
  children: Map<string | null, Version[]>;
}

function Branch({ version, children, chosen, onChoose }: Node) {
  const under = children.get(version.id) ?? [];
  return (
    <li>
      <button type="button" className={`version ${version.id === chosen ? "on" : ""}`} aria-pressed={version.id === chosen} onClick={() => onChoose(version.id)}>
        <span className="words">{version.id}</span>
        <span className="row">
          {version.aliases.map((alias) => (
            <Badge key={alias} tone="accent">
              {alias}
            </Badge>
          ))}
          {version.served && <Badge tone="good">served</Badge>}
          {version.verdict && <Badge tone={version.verdict.passed ? "good" : "bad"}>gate {version.verdict.passed ? "passed" : "failed"}</Badge>}
          {version.record.mean_reward !== null && <span className="muted small">reward {reward(version.record.mean_reward)}</span>}
        </span>
      </button>
      {under.length > 0 && (
        <ul>
          {under.map((each) => (
            <Branch key={each.id} version={each} children={children} chosen={chosen} onChoose={onChoose} />
          ))}
        </ul>
      )}
    </li>
  );
}
