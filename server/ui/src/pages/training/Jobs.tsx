import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { short, when } from "../../parts/format";
import { toModel } from "../../parts/links";
import { Empty, pending } from "../../parts/states";
import { Table } from "../../parts/Table";
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
    <div className="card">
      <Table
        caption="Jobs, newest first"
        rows={jobs}
        keyOf={(job) => job.id}
        columns={[
          { name: "Job", kind: "words", cell: (job) => <Link to={`/training/${job.id}`}>{named(job)}</Link> },
          { name: "Status", cell: (job) => <Status status={job.status} /> },
          { name: "Base", kind: "words", cell: (job) => job.model },
          { name: "Trained on", kind: "words", cell: (job) => <span className="mono">{job.training_file}</span> },
          { name: "Begun", cell: (job) => <span className="figures">{when(job.created_at)}</span> },
          { name: "Tokens", kind: "number", cell: (job) => (job.trained_tokens == null ? "–" : short(job.trained_tokens)) },
          { name: "Result", kind: "words", cell: (job) => (job.fine_tuned_model ? <Link to={toModel(job.fine_tuned_model)}>{job.fine_tuned_model}</Link> : (job.error?.message ?? "–")) },
        ]}
      />
    </div>
  );
}

/** An id whose end is of use to nobody is cut. */
const named = ({ id }: JobObject): string => (id.length > 22 ? `${id.slice(0, 20)}…` : id);
