import { type FormEvent, useEffect, useState } from "react";
import { useKey } from "../../frame/session";
import { Button } from "../../parts/controls";
import type { Conditions } from "./address";

const OUTCOMES = ["running", "requires_action", "completed", "limit", "invalid", "cancelled", "error", "unknown"];
const SOURCES = ["chat", "agent", "rollout", "import"];
const AGES = { "": "any time", "1h": "the last hour", "1d": "the last day", "7d": "the last week", "30d": "the last month" };
const IDENTITY = /^(traj_|chatcmpl-|cmpl-|resp_)\S+$/;

/** The API's own conditions as fields; `Search` finds text that was said, or opens what an id names. */
export function Filters({
  conditions,
  onChange,
  onOpen,
}: {
  conditions: Conditions;
  onChange: (conditions: Conditions) => void;
  onOpen: (id: string) => void;
}) {
  const key = useKey();
  const [draft, setDraft] = useState(conditions);
  const [more, setMore] = useState(() => Object.keys(conditions).some((name) => name !== "text"));
  const asked = JSON.stringify(conditions);
  useEffect(() => setDraft(JSON.parse(asked)), [asked]);

  const set = (name: string, value: string) => ({ ...draft, [name]: value });
  const type = (name: string) => ({
    value: draft[name] ?? "",
    onChange: (event: { target: { value: string } }) => setDraft(set(name, event.target.value)),
  });
  const choose = (name: string) => ({
    value: draft[name] ?? "",
    onChange: (event: { target: { value: string } }) => onChange(set(name, event.target.value)),
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    const text = (draft.text ?? "").trim();
    if (IDENTITY.test(text)) onOpen(text);
    else onChange({ ...draft, text });
  }

  return (
    <form className="filters" role="search" onSubmit={submit} aria-label="Which trajectories">
      <div className="row">
        <input type="search" aria-label="Search" placeholder="Search what was said, or an id" {...type("text")} />
        <Button type="submit">Search</Button>
        <Button kind="quiet" aria-expanded={more} onPress={() => setMore(!more)}>
          Filters
        </Button>
      </div>
      {more && (
        <div className="conditions">
          <Labelled name="Model">
            <input {...type("model")} />
          </Labelled>
          <Labelled name="Environment">
            <input {...type("environment")} />
          </Labelled>
          {(key.admin || draft.owner) && (
            <Labelled name="Owner">
              <input {...type("owner")} />
            </Labelled>
          )}
          <Labelled name="Source">
            <Choice options={SOURCES} {...choose("source")} />
          </Labelled>
          <Labelled name="Outcome">
            <Choice options={OUTCOMES} {...choose("outcomes")} />
          </Labelled>
          <Labelled name="Least reward">
            <input type="number" min="0" max="1" step="any" {...type("min_reward")} />
          </Labelled>
          <Labelled name="Begun">
            <select {...choose("since")}>
              {!((draft.since ?? "") in AGES) && <option>{draft.since}</option>}
              {Object.entries(AGES).map(([age, words]) => (
                <option key={age} value={age}>
                  {words}
                </option>
              ))}
            </select>
          </Labelled>
          <Labelled name="Begun before">
            <input placeholder="2026-11-22 or 7d" {...type("until")} />
          </Labelled>
          <Tag draft={draft} onChange={onChange} />
          <div className="row">
            <Button type="submit">Apply</Button>
            <Button kind="quiet" onPress={() => onChange({})}>
              Clear
            </Button>
          </div>
        </div>
      )}
    </form>
  );
}

function Labelled({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <label className="field">
      <span className="label">{name}</span>
      {children}
    </label>
  );
}

function Choice({ options, ...props }: { options: string[]; value: string; onChange: (event: { target: { value: string } }) => void }) {
  return (
    <select {...props}>
      <option value="">any</option>
      {!options.includes(props.value) && props.value !== "" && <option>{props.value}</option>}
      {options.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
}

/** `tags.NAME=VALUE`, each that is set, and a field for another. */
function Tag({ draft, onChange }: { draft: Conditions; onChange: (conditions: Conditions) => void }) {
  const [tag, setTag] = useState("");
  const names = Object.keys(draft).filter((name) => name.startsWith("tags."));
  function add() {
    const [name, ...value] = tag.split("=");
    if (!name || value.length === 0) return;
    onChange({ ...draft, [`tags.${name.trim()}`]: value.join("=").trim() });
    setTag("");
  }
  return (
    <div className="field">
      <span className="label">Tag (name=value)</span>
      <span className="row">
        {names.map((name) => (
          <button key={name} type="button" className="badge accent" title="Leave this condition out" onClick={() => onChange({ ...draft, [name]: "" })}>
            {name.slice(5)}={draft[name]} ✕
          </button>
        ))}
        <input
          value={tag}
          aria-label="Tag, as name=value"
          onChange={(event) => setTag(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            add();
          }}
          onBlur={add}
        />
      </span>
    </div>
  );
}
