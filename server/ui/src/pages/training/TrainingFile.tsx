/** A query of the log with what it finds, or a file that was or is uploaded. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ask, send } from "../../api/client";
import { Field } from "../../parts/controls";
import { number, reward, when } from "../../parts/format";
import { message } from "../../parts/states";

interface Chosen {
  value: string;
  onChange: (value: string) => void;
}

const OF_THE_LOG = "log:";
const PREVIEWED = 5;

export function TrainingFile({ value, onChange }: Chosen) {
  const ofLog = value.startsWith(OF_THE_LOG);
  return (
    <>
      <fieldset className="row sources">
        <legend className="hidden">Where the rows are</legend>
        <label className="row">
          <input type="radio" name="source" checked={ofLog} onChange={() => onChange(OF_THE_LOG)} /> A selection of the log
        </label>
        <label className="row">
          <input type="radio" name="source" checked={!ofLog} onChange={() => onChange("")} /> A file
        </label>
      </fieldset>
      {ofLog ? <Selection value={value} onChange={onChange} /> : <Files value={value} onChange={onChange} />}
    </>
  );
}

function Selection({ value, onChange }: Chosen) {
  const words = value.slice(OF_THE_LOG.length);
  const found = useQuery({
    queryKey: ["selection", words],
    queryFn: async () => (await send(`/v1/trajectories?limit=${PREVIEWED}&${words}`)).json() as Promise<{ data: Previewed[]; has_more: boolean }>,
    placeholderData: (before) => before,
  });
  return (
    <>
      <Field label="Conditions, as in the log’s address; none takes every row that was rewarded 1" value={words} onChange={(text) => onChange(OF_THE_LOG + text)} />
      <p className="muted small">
        For example <code>environment=db&amp;min_reward=0.5&amp;since=7d</code>
      </p>
      <div role="status" className="small">
        {found.error ? <span className="complaint">{message(found.error)}</span> : found.data && <Preview {...found.data} />}
      </div>
    </>
  );
}

interface Previewed {
  id: string;
  created: number;
  model: string;
  source: string;
  reward: number | null;
}

function Preview({ data, has_more }: { data: Previewed[]; has_more: boolean }) {
  if (!data.length) return <span className="muted">No trajectory meets these conditions.</span>;
  return (
    <>
      <p className="muted">
        {has_more ? `More than ${PREVIEWED} trajectories; the newest:` : `${number(data.length)} trajectories:`} (those without a sufficient reward are left out later)
      </p>
      <ul>
        {data.map((each) => (
          <li key={each.id}>
            {when(each.created)} · {each.model} · {each.source} · reward {reward(each.reward)}
          </li>
        ))}
      </ul>
    </>
  );
}

function Files({ value, onChange }: Chosen) {
  const queries = useQueryClient();
  const [complaint, setComplaint] = useState<unknown>(null);
  const files = useQuery({ queryKey: ["files"], queryFn: () => ask(api.GET("/v1/files", { params: { query: { purpose: "fine-tune" } } })) });
  const upload = useMutation({
    mutationFn: async (file: File) => {
      const form = new FormData();
      form.append("purpose", "fine-tune");
      form.append("file", file);
      return (await send("/v1/files", { method: "POST", body: form })).json() as Promise<{ id: string }>;
    },
    onMutate: () => setComplaint(null),
    onError: setComplaint,
    onSuccess: async ({ id }) => {
      await queries.invalidateQueries({ queryKey: ["files"] });
      onChange(id);
    },
  });
  return (
    <div className="settings">
      <label className="field">
        <span className="label">An uploaded file</span>
        <select value={value} onChange={(event) => onChange(event.target.value)}>
          <option value="">Choose one</option>
          {files.data?.data.map((file) => (
            <option key={file.id} value={file.id}>
              {file.filename} ({number(file.bytes)} bytes, {when(file.created_at)})
            </option>
          ))}
        </select>
      </label>
      <label className="field">
        <span className="label">Or upload one: JSON lines, a JSON list or Parquet, of any format that can be read</span>
        <input type="file" accept=".jsonl,.json,.parquet" disabled={upload.isPending} onChange={(event) => event.target.files?.[0] && upload.mutate(event.target.files[0])} />
      </label>
      <div role="status">
        {upload.isPending && "Uploading…"}
        {complaint !== null && <span className="complaint">{message(complaint)}</span>}
      </div>
    </div>
  );
}
