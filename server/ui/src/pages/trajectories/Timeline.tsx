/** What happened, step by step: only the steps in sight are there, so that hundreds stay fluid. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef } from "react";
import type { Step, Trajectory } from "../../api/types";
import { Badge } from "../../parts/controls";
import { duration, number } from "../../parts/format";
import { readable, Text } from "../../parts/text";
import { Judge, Judgements } from "./Judgement";

export function Timeline({ trajectory }: { trajectory: Trajectory }) {
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: trajectory.steps.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 120,
    overscan: 6,
  });
  const begun = trajectory.steps[0]?.started ?? trajectory.created;
  return (
    <div ref={scroller} className="story" tabIndex={0} role="region" aria-label="Steps">
      <ol style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map(({ index, start }) => (
          <li
            key={index}
            ref={virtual.measureElement}
            data-index={index}
            aria-posinset={index + 1}
            aria-setsize={trajectory.steps.length}
            style={{ transform: `translateY(${start}px)` }}
          >
            <StepCard trajectory={trajectory} index={index} step={trajectory.steps[index]!} since={begun} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function StepCard({ trajectory, index, step, since }: { trajectory: Trajectory; index: number; step: Step; since: number }) {
  const judged = trajectory.feedback.filter((each) => each.step === index);
  return (
    <article className={`step ${step.role} ${step.origin}`} aria-label={`Step ${index}`}>
      <header className="row">
        <span className="muted mono small">{index}</span>
        <Badge tone={step.role === "assistant" ? "accent" : step.failed ? "bad" : "neutral"}>{nameOf(step)}</Badge>
        {step.origin === "forced" && <Badge title="The server put these words there">forced</Badge>}
        {step.origin === "imported" && <Badge>imported</Badge>}
        {index < (trajectory.parent_step ?? 0) && <Badge title="Copied from the trajectory that this one forked from">copied</Badge>}
        <span className="muted small">
          +{duration(Math.max(0, step.started - since))} · {number(step.token_ids?.length ?? 0)} tokens
          {step.seconds > 0 && ` · ${duration(step.seconds)}`}
        </span>
      </header>
      <Content step={step} />
      {step.error && (
        <p className="complaint">
          {step.error === "repetition" ? "The same call was made again and again." : step.error}
        </p>
      )}
      {judged.length > 0 && <Judgements feedback={judged} />}
      {step.role === "assistant" && step.origin !== "forced" && <Judge trajectory={trajectory} step={index} answer={step.answer ?? step.text} />}
    </article>
  );
}

function nameOf(step: Step): string {
  if (step.role === "tool") return step.failed ? "observation · failed" : "observation";
  if (step.role !== "assistant") return step.role;
  return step.call ? "call" : step.answer !== null ? "answer" : "model";
}

/** What a tool said, without the marks that keep the model from taking it for somebody's words. */
function observed(text: string): string {
  return /^Observation: <data>\n([^]*)\n<\/data>$/.exec(text)?.[1] ?? text;
}

function Content({ step }: { step: Step }) {
  if (step.thought === null && step.call === null && step.answer === null) {
    return <Text text={step.role === "tool" ? observed(step.text) : step.text} folded={step.role === "system"} />;
  }
  return (
    <>
      {step.thought && <p className="thought">{step.thought}</p>}
      {step.call && (
        <div className="call">
          <code>{step.call.name}</code>
          <Text text={readable(step.call.arguments)} />
        </div>
      )}
      {step.answer !== null && <Text text={step.answer} />}
    </>
  );
}
