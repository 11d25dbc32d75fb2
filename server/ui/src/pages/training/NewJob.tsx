/** Starting a job: from which rows, of which model, under which recipe. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Link, useNavigate, useSearchParams } from "react-router";
import { ApiError, api, ask } from "../../api/client";
import { Button, Field } from "../../parts/controls";
import { message, pending } from "../../parts/states";
import { recipe } from "./api";
import { Settings } from "./Settings";
import { TrainingFile } from "./TrainingFile";

export function NewJob() {
  const [query] = useSearchParams();
  const [training, setTraining] = useState(query.get("training_file") ?? "log:");
  const [model, setModel] = useState("");
  const [suffix, setSuffix] = useState("");
  const [chosen, setChosen] = useState<Record<string, unknown>>({});
  const models = useQuery({ queryKey: ["models"], queryFn: () => ask(api.GET("/v1/models")) });
  const settings = useQuery(recipe);
  const start = useStart();
  const base = model || models.data?.data[0]?.id || "";

  function submit(event: FormEvent) {
    event.preventDefault();
    start.mutate({ model: base, training_file: training, suffix: suffix || null, recipe: chosen });
  }

  const ready = pending(models, "models") ?? pending(settings, "the recipe");
  return (
    <div className="page">
      <p className="small">
        <Link to="/training">All jobs</Link>
      </p>
      <h1>Start a job</h1>
      {ready ?? (
        <form className="column" onSubmit={submit} noValidate>
          <section className="card column">
            <h2>What it is trained on</h2>
            <TrainingFile value={training} onChange={setTraining} />
          </section>
          <section className="card column">
            <h2>What becomes of it</h2>
            <div className="settings">
              <label className="field">
                <span className="label">Model to train</span>
                <select value={base} onChange={(event) => setModel(event.target.value)}>
                  {models.data!.data.map((each) => (
                    <option key={each.id}>{each.id}</option>
                  ))}
                </select>
              </label>
              <Field label="A word for the result’s name" value={suffix} onChange={setSuffix} />
            </div>
            <p className="muted small">An adapter is trained and served beside the model as soon as it is ready; no traffic moves until it is promoted.</p>
          </section>
          <Settings settings={settings.data!} chosen={chosen} onChange={setChosen} wrong={fieldOf(start.error)} />
          {start.error && (
            <p role="alert" className="card complaint words">
              {message(start.error)}
            </p>
          )}
          <div className="row">
            <Button type="submit" kind="primary" isDisabled={start.isPending || !base}>
              {start.isPending ? "Starting…" : "Start"}
            </Button>
          </div>
        </form>
      )}
    </div>
  );
}

interface Asked {
  model: string;
  training_file: string;
  suffix: string | null;
  recipe: Record<string, unknown>;
}

function useStart() {
  const queries = useQueryClient();
  const go = useNavigate();
  return useMutation({
    mutationFn: (body: Asked) => ask(api.POST("/v1/fine_tuning/jobs", { body: body as never })),
    onSuccess: async (job) => {
      await queries.invalidateQueries({ queryKey: ["jobs"] });
      go(`/training/${job.id}`);
    },
  });
}

/** The setting that a refusal is about. */
function fieldOf(error: unknown): string | undefined {
  return error instanceof ApiError && error.param?.startsWith("recipe.") ? error.param.split(".")[1] : undefined;
}
