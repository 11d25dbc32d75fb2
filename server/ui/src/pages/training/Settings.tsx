/** The recipe as a form, made of its JSON schema: each setting with what it means and its default. */
import { useId } from "react";
import { grouped } from "../../parts/group";
import type { Setting } from "./api";

type Chosen = Record<string, unknown>;

interface Given {
  settings: Record<string, Setting>;
  chosen: Chosen;
  onChange: (chosen: Chosen) => void;
  /** The setting that the server refused. */
  wrong?: string | undefined;
}

export function Settings({ settings, chosen, onChange, wrong }: Given) {
  const groups = grouped(Object.keys(settings), (name) => settings[name]!.group);
  const set = (name: string, value: unknown) => {
    const { [name]: _, ...others } = chosen;
    onChange(value === undefined ? others : { ...others, [name]: value });
  };
  return (
    <section className="card column">
      <h2>Recipe</h2>
      <p className="muted small">What is left empty is as its default says.</p>
      {[...groups].map(([group, names]) => {
        const changed = names.filter((name) => name in chosen).length;
        return (
          <details key={group} className="filter" open={names.includes(wrong ?? "") || undefined}>
            <summary>
              {group} {changed > 0 && <span className="badge accent">{changed} changed</span>}
            </summary>
            <div className="settings">
              {names.map((name) => (
                <One key={name} name={name} setting={settings[name]!} value={chosen[name]} isWrong={name === wrong} set={(value) => set(name, value)} />
              ))}
            </div>
          </details>
        );
      })}
    </section>
  );
}

interface OneSetting {
  name: string;
  setting: Setting;
  value: unknown;
  isWrong: boolean;
  set: (value: unknown) => void;
}

function One({ name, setting, value, isWrong, set }: OneSetting) {
  const id = useId();
  const about = `${id}-about`;
  return (
    <div className="field">
      <label htmlFor={id} id={`${id}-name`}>
        {words(name)}
      </label>
      <Control id={id} about={about} setting={setting} value={value} isWrong={isWrong} set={set} />
      <span id={about} className="muted small">
        {setting.description} {setting.default != null && `Default: ${spelled(setting.default)}.`}
      </span>
    </div>
  );
}

function Control({ id, about, setting, value, isWrong, set }: Omit<OneSetting, "name"> & { id: string; about: string }) {
  const common = { id, "aria-describedby": about, "aria-invalid": isWrong };
  const kind = setting.type ?? setting.anyOf?.find((each) => each.type !== "null")?.type;
  if (kind === "boolean" || setting.enum) {
    const words = setting.enum ?? ["true", "false"];
    const read = (text: string) => (text === "" ? undefined : setting.enum ? text : text === "true");
    return (
      <select {...common} value={value === undefined ? "" : String(value)} onChange={(event) => set(read(event.target.value))}>
        <option value="">default ({spelled(setting.default)})</option>
        {words.map((word) => (
          <option key={word} value={word}>
            {word === "true" ? "yes" : word === "false" ? "no" : word}
          </option>
        ))}
      </select>
    );
  }
  if (setting.items?.enum) return <Several id={id} about={about} words={setting.items.enum} value={(value as string[] | undefined) ?? []} set={set} />;
  const text = value === undefined ? "" : Array.isArray(value) ? value.join(",") : typeof value === "object" ? pairs(value!) : String(value);
  const placeholder = setting.default == null ? "" : spelled(setting.default);
  return <input {...common} value={text} placeholder={placeholder} inputMode={kind === "number" || kind === "integer" ? "decimal" : "text"} onChange={(event) => set(read(event.target.value, kind))} />;
}

function Several({ id, about, words, value, set }: { id: string; about: string; words: string[]; value: string[]; set: (value: unknown) => void }) {
  const toggle = (word: string, on: boolean) => {
    const others = value.filter((each) => each !== word);
    const chosen = on ? [...others, word] : others;
    set(chosen.length ? chosen : undefined);
  };
  return (
    <div id={id} role="group" aria-labelledby={`${id}-name`} aria-describedby={about} className="choices">
      {words.map((word) => (
        <label key={word} className="small">
          <input type="checkbox" checked={value.includes(word)} onChange={(event) => toggle(word, event.target.checked)} /> {word.replaceAll("_", " ")}
        </label>
      ))}
    </div>
  );
}

/** What was typed, as the kind that the setting is of; the server says what is wrong with it. */
function read(text: string, kind: string | undefined): unknown {
  if (text.trim() === "") return undefined;
  if (kind === "array") return text.split(",").map((word) => word.trim());
  if (kind === "object") return Object.fromEntries(text.split(",").map((pair) => pair.split("=", 2).map((word) => word.trim())));
  const number = Number(text);
  // Half a number ("1e", "0.") stays as it was typed.
  return (kind === "number" || kind === "integer") && String(number) === text.trim() ? number : text;
}

const pairs = (value: object): string => Object.entries(value).map(([key, name]) => (name === undefined ? key : `${key}=${name}`)).join(",");
const words = (name: string): string => name.replaceAll("_", " ");
const spelled = (value: unknown): string =>
  value === true ? "yes" : value === false ? "no" : Array.isArray(value) ? value.join(", ") || "none" : typeof value === "object" && value ? pairs(value) || "none" : String(value ?? "none");
