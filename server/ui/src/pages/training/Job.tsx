/** One job: how far it is, its curve, what was left out, rows as they are trained on. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useParams } from "react-router";
import { api, ask } from "../../api/client";
import { Button, Dialog } from "../../parts/controls";
import { Facts } from "../../parts/Facts";
import { duration, moment, number, short } from "../../parts/format";
import { toModel } from "../../parts/links";
import { Empty, message, pending } from "../../parts/states";
import { ended, events, type JobObject, job as jobQuery, type Run, run as runQuery, waits } from "./api";
import { Curves } from "./Curves";
import { LeftOut } from "./LeftOut";
import { Rows } from "./Rows";
import { Status } from "./Status";

export function Job() {
  const id = useParams().id!;
  const job = useQuery(jobQuery(id));
  const live = !!job.data && !ended(job.data) && !waits(job.data);
  const run = useQuery({ ...runQuery(id, live), enabled: !!job.data });
  return (
    <div className="page">
      <p className="small">
        <Link to="/training">All jobs</Link>
      </p>
      {pending(job, "the job") ?? (
        <>
          <Head job={job.data!} run={run.data} />
          {pending(run, "the run") ?? <Progress job={job.data!} run={run.data!} />}
          <Events id={id} live={live} />
        </>
      )}
    </div>
  );
}

function Head({ job, run }: { job: JobObject; run: Run | undefined }) {
  return (
    <>
      <div className="row spread">
        <div className="row">
          <h1 className="words">{run?.name ?? job.id}</h1>
          <span role="status">
            <Status status={job.status} />
          </span>
        </div>
        <Actions job={job} />
      </div>
      {job.error && (
        <p role="alert" className="card complaint words">
          {job.error.message}
        </p>
      )}
      {job.fine_tuned_model && (
        <p>
          It is served. <Link to={toModel(job.fine_tuned_model)}>Compare it with its parent and promote it</Link>, or talk to
          it under <Link to="/chat">Chat</Link>.
        </p>
      )}
    </>
  );
}

type Action = "pause" | "resume" | "cancel";

function Actions({ job }: { job: JobObject }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const act = useMutation({
    mutationFn: (action: Action) => ask(api.POST(`/v1/fine_tuning/jobs/{job_id}/${action}`, { params: { path: { job_id: job.id } } })),
    onSettled: () => queries.invalidateQueries({ queryKey: ["jobs"] }),
  });
  if (ended(job)) return null;
  return (
    <div className="row">
      {act.error && (
        <span role="alert" className="complaint">
          {message(act.error)}
        </span>
      )}
      {waits(job) ? (
        <Button kind="primary" isDisabled={act.isPending} onPress={() => act.mutate("resume")}>
          Resume
        </Button>
      ) : (
        <Button isDisabled={act.isPending} onPress={() => act.mutate("pause")}>
          Pause
        </Button>
      )}
      <Button kind="danger" isDisabled={act.isPending} onPress={() => setAsking(true)}>
        Cancel
      </Button>
      {asking && (
        <Dialog title="Cancel this job?" onClose={() => setAsking(false)}>
          <p>It can’t go on afterwards. A paused job can.</p>
          <div className="row">
            <Button
              kind="danger"
              onPress={() => {
                act.mutate("cancel");
                setAsking(false);
              }}
            >
              Cancel the job
            </Button>
            <Button onPress={() => setAsking(false)}>Let it run</Button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function Progress({ job, run }: { job: JobObject; run: Run }) {
  const last = (values: (number | null)[]) => values.findLast((value) => value !== null)?.toFixed(4);
  return (
    <>
      <section className="card column progress" aria-label="How far it is">
        <Facts
          facts={[
            ["Base", job.model],
            ["Trained on", <span className="mono small">{job.training_file}</span>],
            ["Begun", moment(job.created_at)],
            ["Steps", run.steps ? `${number(run.steps_done)} of ${number(run.steps)}` : run.steps_done ? number(run.steps_done) : undefined],
            ["Loss", last(run.curve.loss)],
            ["Held-out loss", last(run.curve.held_out_loss)],
            ["Best step", run.best_step == null ? undefined : number(run.best_step)],
            ["Tokens a second", run.tokens_per_second == null ? undefined : number(Math.round(run.tokens_per_second))],
            ["Time left", ended(job) || run.seconds_left == null ? undefined : duration(run.seconds_left)],
            ["Tokens trained on", short(run.trained_tokens)],
          ]}
        />
        {run.steps ? (
          <progress aria-label="Steps done" max={run.steps} value={run.steps_done}>
            {run.steps_done} of {run.steps}
          </progress>
        ) : null}
      </section>
      {run.steps_done > 0 ? <Curves run={run} /> : ended(job) ? null : <Empty title="No step yet">Rows are being selected, or another job comes first.</Empty>}
      <LeftOut selection={run.selection} sources={run.sources} />
      <Rows samples={run.samples} />
      <Recipe recipe={run.recipe} />
    </>
  );
}

function Recipe({ recipe }: { recipe: Run["recipe"] }) {
  const names = Object.keys(recipe);
  if (!names.length) return null;
  return (
    <details className="card">
      <summary>Recipe: {names.length} settings</summary>
      <div className="scroll" tabIndex={0}>
        <table className="plain">
          <tbody>
            {names.map((name) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td className="mono words">{JSON.stringify(recipe[name])}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Events({ id, live }: { id: string; live: boolean }) {
  const query = useQuery(events(id, live));
  if (!query.data?.data.length) return null;
  return (
    <details className="card">
      <summary>What happened</summary>
      <ol className="events" reversed tabIndex={0}>
        {query.data.data.map((event) => (
          <li key={event.id} className={event.level === "info" ? "" : "complaint"}>
            <time className="muted small">{moment(event.created_at)}</time> {event.message}
          </li>
        ))}
      </ol>
    </details>
  );
}
