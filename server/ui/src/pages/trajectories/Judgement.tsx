/** What people and programs said of a trajectory, and saying something: of it all, or of one step. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, ask } from "../../api/client";
import type { Feedback, Trajectory } from "../../api/types";
import { Badge, Button } from "../../parts/controls";
import { moment, reward } from "../../parts/format";
import { message } from "../../parts/states";

interface Said {
  value?: number | boolean;
  comment?: string;
  correction?: string;
}

export function useJudge(id: string, step?: number) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (said: Said) =>
      ask(
        api.POST("/v1/trajectories/{trajectory_id}/feedback", {
          params: { path: { trajectory_id: id } },
          body: { name: "reward", ...said, ...(step === undefined ? {} : { step }) },
        }),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["trajectories"] }),
  });
}

export function Judgement({ trajectory }: { trajectory: Trajectory }) {
  const whole = trajectory.feedback.filter((each) => each.step === null);
  return (
    <div className="judgement">
      <Judge trajectory={trajectory} answer={lastAnswer(trajectory)} />
      {whole.length > 0 && (
        <details>
          <summary>
            {whole.length} {whole.length === 1 ? "judgement" : "judgements"}
          </summary>
          <Judgements feedback={whole} />
        </details>
      )}
    </div>
  );
}

function lastAnswer(trajectory: Trajectory): string {
  return trajectory.steps.findLast((step) => step.role === "assistant" && step.answer !== null)?.answer ?? "";
}

/** Thumbs, and behind “More” a score, a comment and what should have been said. */
export function Judge({ trajectory, step, answer }: { trajectory: Trajectory; step?: number; answer: string }) {
  const judge = useJudge(trajectory.id, step);
  const [open, setOpen] = useState(false);
  const last = trajectory.feedback.findLast((each) => each.step === (step ?? null) && each.value !== null)?.value;
  const what = step === undefined ? "trajectory" : `step ${step}`;
  return (
    <div className="judge">
      <div className="row">
        <Button className={isGood(last) ? "on" : ""} aria-label={`Good ${what}`} aria-pressed={isGood(last)} onPress={() => judge.mutate({ value: true })}>
          Good
        </Button>
        <Button className={isBad(last) ? "on" : ""} aria-label={`Bad ${what}`} aria-pressed={isBad(last)} onPress={() => judge.mutate({ value: false })}>
          Bad
        </Button>
        <Button kind="quiet" aria-expanded={open} aria-label={`${open ? "Less" : "Score, comment, correct"}: ${what}`} onPress={() => setOpen(!open)}>
          {open ? "Less" : "Score, comment, correct"}
        </Button>
        <span role="status" className="small muted">
          {judge.isPending ? "Saving…" : judge.isSuccess ? "Saved" : ""}
        </span>
      </div>
      {judge.error && (
        <p role="alert" className="complaint">
          {message(judge.error)}
        </p>
      )}
      {open && <InDetail answer={answer} saving={judge.isPending} onSave={(said) => judge.mutate(said, { onSuccess: () => setOpen(false) })} />}
    </div>
  );
}

const isGood = (value: unknown) => value === true || (typeof value === "number" && value >= 0.5);
const isBad = (value: unknown) => value === false || (typeof value === "number" && value < 0.5);

function InDetail({ answer, saving, onSave }: { answer: string; saving: boolean; onSave: (said: Said) => void }) {
  const [score, setScore] = useState("");
  const [comment, setComment] = useState("");
  const [correction, setCorrection] = useState(answer);
  const corrected = correction.trim() !== "" && correction !== answer;
  const said: Said = {
    ...(score === "" ? {} : { value: Number(score) }),
    ...(comment.trim() ? { comment } : {}),
    ...(corrected ? { correction } : {}),
  };
  function submit(event: FormEvent) {
    event.preventDefault();
    onSave(said);
  }
  return (
    <form className="column" onSubmit={submit}>
      <label className="field score">
        <span className="label">Score, 0 to 1</span>
        <input type="number" min="0" max="1" step="any" value={score} onChange={(event) => setScore(event.target.value)} />
      </label>
      <label className="field">
        <span className="label">Comment</span>
        <textarea rows={2} maxLength={10_000} value={comment} onChange={(event) => setComment(event.target.value)} />
      </label>
      <label className="field">
        <span className="label">What should have been said: it is learnt in the place of what was</span>
        <textarea rows={4} value={correction} onChange={(event) => setCorrection(event.target.value)} />
      </label>
      <div>
        <Button type="submit" kind="primary" isDisabled={saving || Object.keys(said).length === 0}>
          Save
        </Button>
      </div>
    </form>
  );
}

export function Judgements({ feedback }: { feedback: Feedback[] }) {
  return (
    <ul className="judgements">
      {feedback.map((each, index) => (
        <li key={index}>
          <span className="row">
            {each.value !== null && (
              <Badge tone={isGood(each.value) ? "good" : "bad"}>
                {each.name} {typeof each.value === "boolean" ? (each.value ? "good" : "bad") : reward(each.value)}
              </Badge>
            )}
            <span className="muted small">
              {each.author} · {moment(each.created)}
            </span>
          </span>
          {each.comment && <p className="said">{each.comment}</p>}
          {each.correction && (
            <div>
              <span className="label">should have been</span>
              <pre>{each.correction}</pre>
            </div>
          )}
        </li>
      ))}
    </ul>
  );
}
