import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { short, when } from "../../parts/format";
import { toModel } from "../../parts/links";
import { Empty, pending } from "../../parts/states";
import { type JobObject, jobs } from "./api";
import { Status } from "./Status";

export function Jobs() {
  const query = useQuery(jobs);
  return (
    <div className="page">
      <div className="row spread">
        <h1>Training</h1>
        <Link className="button primary" to="/training/new">
          Start a job
        </Link>
      </div>
      {pending(query, "jobs") ?? <List jobs={query.data!.data} />}
    </div>
  );
}

function List({ jobs }: { jobs: JobObject[] }) {
  if (!jobs.length) {
    return (
      <Empty title="No job yet">
        A job trains a successor of a served model from rewarded trajectories of the log, or from a file. <Link to="/training/new">Start one.</Link>
      </Empty>
    );
  }
  return (
    <div className="card scroll" tabIndex={0}>
      <table className="plain">
        <caption className="hidden">Jobs, newest first</caption>
        <thead>
          <tr>
            <th>Job</th>
            <th>Status</th>
            <th>Base</th>
            <th>Trained on</th>
            <th>Begun</th>
            <th className="number">Tokens trained on</th>
            <th>Result</th>
          </tr>
        </thead>
        <tbody>
          {jobs.map((job) => (
            <tr key={job.id}>
              <td>
                <Link to={`/training/${job.id}`} className="mono">
                  {job.id.slice(0, 22)}…
                </Link>
              </td>
              <td>
                <Status status={job.status} />
              </td>
              <td>{job.model}</td>
              <td className="mono words">{job.training_file}</td>
              <td>{when(job.created_at)}</td>
              <td className="number">{job.trained_tokens == null ? "" : short(job.trained_tokens)}</td>
              <td className="words">{job.fine_tuned_model ? <Link to={toModel(job.fine_tuned_model)}>{job.fine_tuned_model}</Link> : job.error?.message}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
