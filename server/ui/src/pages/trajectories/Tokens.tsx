/**
 * The exact tokens that the engine saw and said. Colour says how unlikely each sampled one was; what a grammar or the
 * server left no choice in is marked, and so is what a run could learn.
 */
import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useMemo, useRef } from "react";
import { api, ask } from "../../api/client";
import type { Step, Trajectory } from "../../api/types";
import { Badge } from "../../parts/controls";
import { number } from "../../parts/format";
import { message } from "../../parts/states";

export function Tokens({ trajectory }: { trajectory: Trajectory }) {
  const scroller = useRef<HTMLDivElement>(null);
  const ids = useMemo(() => [...new Set(trajectory.steps.flatMap((step) => step.token_ids ?? []))].sort((a, b) => a - b), [trajectory]);
  const digest = trajectory.steps.find((step) => step.tokenizer_digest)?.tokenizer_digest;
  const spelt = useSpelling(trajectory.model, ids);
  const known = spelt.data && (!digest || spelt.data.digest === digest) ? spelt.data.texts : null;
  const learnt = useLearnable(trajectory);
  const virtual = useVirtualizer({
    count: trajectory.steps.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => 60 + (trajectory.steps[index]?.token_ids?.length ?? 0) * 2,
    overscan: 4,
  });
  return (
    <>
      <Legend />
      {spelt.error && <p className="small complaint">Ids only: {message(spelt.error)}</p>}
      {spelt.data && !known && <p className="small complaint">Ids only: the model has another tokenizer or template now than when this was recorded.</p>}
      <div ref={scroller} className="story" tabIndex={0} role="region" aria-label="Tokens">
        <ol style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, start }) => (
            <li key={index} ref={virtual.measureElement} data-index={index} style={{ transform: `translateY(${start}px)` }}>
              <StepTokens step={trajectory.steps[index]!} index={index} learnt={learnt.has(index)} texts={known} />
            </li>
          ))}
        </ol>
      </div>
    </>
  );
}

/** What each id spells, by the model that said it. */
function useSpelling(model: string, ids: number[]) {
  return useQuery({
    queryKey: ["spelling", model, ids],
    queryFn: async ({ signal }) => {
      const answer = await ask(api.POST("/detokenize", { body: { model, tokens: ids, return_token_strs: true }, signal }));
      return { texts: new Map(ids.map((id, index) => [id, answer.token_strs![index]!])), digest: answer.tokenizer_digest };
    },
    staleTime: Infinity,
    retry: false,
  });
}

/** Steps that a run would learn where their reward is enough, as the trainer says. */
function useLearnable(trajectory: Trajectory): ReadonlySet<number> {
  const answer = useQuery({
    queryKey: ["trajectories", "learnable", trajectory.id, trajectory.steps.length],
    queryFn: ({ signal }) => ask(api.GET("/v1/trajectories/{trajectory_id}/learnable", { params: { path: { trajectory_id: trajectory.id } }, signal })),
  });
  return useMemo(() => new Set(answer.data?.steps), [answer.data]);
}

function Legend() {
  return (
    <div className="row legend small" aria-hidden="true">
      <span className="token sampled" style={{ "--doubt": 0.05 } as React.CSSProperties}>likely</span>
      <span className="token sampled" style={{ "--doubt": 0.9 } as React.CSSProperties}>unlikely</span>
      <span className="token sampled only">the grammar left no choice</span>
      <span className="token forced">put there by the server</span>
      <span className="token">read, not said</span>
    </div>
  );
}

const StepTokens = memo(function StepTokens({ step, index, learnt, texts }: { step: Step; index: number; learnt: boolean; texts: Map<number, string> | null }) {
  return (
    <article className={`step ${learnt ? "learnt" : ""}`} aria-label={`Step ${index}`}>
      <header className="row">
        <span className="muted mono small">{index}</span>
        <Badge tone={step.role === "assistant" ? "accent" : "neutral"}>{step.role}</Badge>
        <span className="muted small">
          {step.origin} · {number(step.token_ids?.length ?? 0)} tokens
        </span>
        {learnt && <Badge tone="good" title="If its reward is enough for the run">learnt</Badge>}
      </header>
      {step.token_ids === null ? (
        <p className="muted">The upstream that said this told no token ids.</p>
      ) : (
        <p className="mono stream">
          {step.token_ids.map((id, place) => (
            <Token key={place} id={id} step={step} place={place} text={texts?.get(id)} />
          ))}
        </p>
      )}
    </article>
  );
});

function Token({ id, step, place, text }: { id: number; step: Step; place: number; text: string | undefined }) {
  const logprob = step.logprobs?.[place];
  const only = step.single_choice?.[place] ?? false;
  const doubt = logprob === undefined ? 0 : 1 - Math.exp(logprob);
  const title = `${id}${logprob === undefined ? "" : ` · log-probability ${logprob.toFixed(3)} (${(Math.exp(logprob) * 100).toFixed(1)}%)`}${only ? " · no other was allowed" : ""}`;
  const kind = step.origin === "sampled" ? "sampled" : step.origin === "forced" ? "forced" : "";
  return (
    <span className={`token ${kind}${only ? " only" : ""}`} title={title} style={{ "--doubt": doubt.toFixed(3) } as React.CSSProperties}>
      {text === undefined ? `${id} ` : text}
    </span>
  );
}
