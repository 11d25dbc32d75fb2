/** What can be done with the trajectories that are selected. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { useNavigate } from "react-router";
import { ApiError, api, ask } from "../../api/client";
import { useKey } from "../../frame/session";
import { Button, Dialog, Field } from "../../parts/controls";
import { number } from "../../parts/format";
import { message } from "../../parts/states";
import { readFamily } from "./Family";
import { save } from "./files";
import { type Progress, useEach } from "./each";

interface Props {
  ids: ReadonlySet<string>;
  onChange: (ids: ReadonlySet<string>) => void;
  onCompare: (open: string, beside: string) => void;
}

type Doing = "tag" | "delete" | "train" | null;

export function Selected({ ids, onChange, onCompare }: Props) {
  const [doing, setDoing] = useState<Doing>(null);
  const key = useKey();
  const all = [...ids];
  const exporting = useEach();
  const close = () => setDoing(null);

  async function download() {
    const lines = await exporting.run(all, (id) => ask(api.GET("/v1/trajectories/{trajectory_id}", { params: { path: { trajectory_id: id } } })));
    if (lines) save("trajectories.jsonl", lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  }

  return (
    <div className="selected row" role="toolbar" aria-label="Selected trajectories">
      <strong>{number(all.length)} selected</strong>
      <Button onPress={() => void download()} isDisabled={exporting.progress !== null}>
        Export
      </Button>
      <Button onPress={() => setDoing("tag")}>Tag</Button>
      {key.admin && (
        <Button kind="primary" onPress={() => setDoing("train")}>
          Train on these
        </Button>
      )}
      {all.length === 2 && <Button onPress={() => onCompare(all[0]!, all[1]!)}>Side by side</Button>}
      <Button kind="danger" onPress={() => setDoing("delete")}>
        Delete
      </Button>
      <Button kind="quiet" onPress={() => onChange(new Set())}>
        Clear
      </Button>
      <Told {...exporting} />
      {doing === "tag" && <Tag ids={all} onClose={close} />}
      {doing === "train" && <Train ids={all} onClose={close} />}
      {doing === "delete" && <Delete ids={all} onClose={close} onDone={(left) => onChange(new Set(left))} />}
    </div>
  );
}

/** How far a change of many is, or what stopped it. */
function Told({ progress, error }: { progress: Progress | null; error: unknown }) {
  return (
    <span role="status" className={error ? "complaint" : "muted"}>
      {error ? `Stopped: ${message(error)}` : progress ? `${number(progress.done)} of ${number(progress.total)}` : ""}
    </span>
  );
}

function setTags(id: string, metadata: Record<string, string>) {
  return ask(api.POST("/v1/trajectories/{trajectory_id}", { params: { path: { trajectory_id: id } }, body: { metadata } }));
}

function Tag({ ids, onClose }: { ids: string[]; onClose: () => void }) {
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const tagging = useEach();
  const queries = useQueryClient();
  async function submit(event: FormEvent) {
    event.preventDefault();
    const done = await tagging.run(ids, (id) => setTags(id, { [name.trim()]: value.trim() }));
    await queries.invalidateQueries({ queryKey: ["trajectories"] });
    if (done) onClose();
  }
  return (
    <Form title={`Tag ${counted(ids)}`} onClose={onClose} onSubmit={submit} each={tagging} action="Tag" ready={name.trim() !== "" && value.trim() !== ""}>
      <p className="muted">A tag is a condition of every list, export and run afterwards: tags.name=value.</p>
      <Field label="Name" value={name} onChange={setName} autoFocus />
      <Field label="Value" value={value} onChange={setValue} />
    </Form>
  );
}

/** Names the selection by a tag, and hands it to Training as a condition. */
function Train({ ids, onClose }: { ids: string[]; onClose: () => void }) {
  const [name, setName] = useState(() => `selection-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}`);
  const tagging = useEach();
  const navigate = useNavigate();
  async function submit(event: FormEvent) {
    event.preventDefault();
    const tag = name.trim();
    const done = await tagging.run(ids, (id) => setTags(id, { [tag]: "selected" }));
    if (done) navigate(`/training/new?${new URLSearchParams({ training_file: `log:${new URLSearchParams({ [`tags.${tag}`]: "selected" })}` })}`);
  }
  return (
    <Form title={`Train on ${counted(ids)}`} onClose={onClose} onSubmit={submit} each={tagging} action="Go on to Training" ready={name.trim() !== ""}>
      <p className="muted">
        The selection is kept as a tag, so that it can be found and trained on again. What nobody judged, or what may not be trained on, is left out by the
        run, which says so.
      </p>
      <Field label="Name of the selection" value={name} onChange={setName} autoFocus />
    </Form>
  );
}

function Delete({ ids, onClose, onDone }: { ids: string[]; onClose: () => void; onDone: (left: string[]) => void }) {
  const deleting = useEach();
  const queries = useQueryClient();
  const held = useQuery({
    queryKey: ["trajectories", "held", ids],
    queryFn: async ({ signal }) => {
      const models = new Map<string, number>();
      for (let start = 0; start < ids.length; start += 8) {
        const families = await Promise.all(ids.slice(start, start + 8).map((id) => readFamily(id, signal)));
        for (const name of families.flatMap((family) => family.models)) models.set(name, (models.get(name) ?? 0) + 1);
      }
      return [...models];
    },
  });
  async function submit(event: FormEvent) {
    event.preventDefault();
    const gone = new Set<string>();
    const done = await deleting.run(ids, async (id) => {
      await ask(api.DELETE("/v1/trajectories/{trajectory_id}", { params: { path: { trajectory_id: id } } })).catch(unlessGone);
      gone.add(id);
    });
    await queries.invalidateQueries({ queryKey: ["trajectories"] });
    onDone(ids.filter((id) => !gone.has(id)));
    if (done) onClose();
  }
  return (
    <Form title={`Delete ${counted(ids)}?`} onClose={onClose} onSubmit={submit} each={deleting} action="Delete for good" danger ready={held.data !== undefined}>
      <p>What was said, every judgement and the files of their tools go. Forks of them stay.</p>
      {held.isPending && <p className="muted">Looking for models that learnt from them…</p>}
      {held.error && <p className="complaint">{message(held.error)}</p>}
      {held.data?.length === 0 && <p>No model has learnt from them.</p>}
      {held.data && held.data.length > 0 && (
        <div>
          <p>These models have learnt from them, and keep what they learnt:</p>
          <ul>
            {held.data.map(([name, count]) => (
              <li key={name}>
                <strong>{name}</strong> ({number(count)} of {number(ids.length)})
              </li>
            ))}
          </ul>
        </div>
      )}
    </Form>
  );
}

function unlessGone(error: unknown) {
  if (!(error instanceof ApiError && error.status === 404)) throw error;
}

function counted(ids: string[]): string {
  return ids.length === 1 ? "one trajectory" : `${number(ids.length)} trajectories`;
}

interface FormProps {
  title: string;
  action: string;
  ready: boolean;
  danger?: boolean;
  each: { progress: Progress | null; error: unknown };
  onClose: () => void;
  onSubmit: (event: FormEvent) => void;
  children: ReactNode;
}

function Form({ title, action, ready, danger, each, onClose, onSubmit, children }: FormProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <form className="column" onSubmit={onSubmit}>
        {children}
        <div className="row">
          <Button type="submit" kind={danger ? "danger" : "primary"} isDisabled={!ready || each.progress !== null}>
            {action}
          </Button>
          <Button kind="quiet" onPress={onClose}>
            Cancel
          </Button>
          <Told {...each} />
        </div>
      </form>
    </Dialog>
  );
}
