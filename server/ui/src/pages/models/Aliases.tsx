/** Who answers as which name, since when and why; and the way back. */
import { type UseQueryResult, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { useKey } from "../../frame/session";
import { Badge, Button, Dialog } from "../../parts/controls";
import { duration, moment, when } from "../../parts/format";
import { toTrajectory } from "../../parts/links";
import { message } from "../../parts/states";
import type { Alias } from "./api";
import { useMove } from "./move";
import { type Answered, probe } from "./probe";

export function Aliases({ aliases }: { aliases: Alias[] }) {
  if (!aliases.length) {
    return (
      <section className="card" aria-label="Who answers">
        <p className="muted">No name is given out yet: requests name a model itself. Promote one, and traffic can ask for “production” whatever that means.</p>
      </section>
    );
  }
  return (
    <section className="card column" aria-label="Who answers">
      {aliases.map((alias) => (
        <OneAlias key={alias.id} alias={alias} />
      ))}
    </section>
  );
}

function OneAlias({ alias }: { alias: Alias }) {
  const key = useKey();
  const [asking, setAsking] = useState(false);
  const latest = alias.history.at(-1)!;
  const canReturn = standing(alias).length > 1;
  const answer = useQuery({ ...probe(alias), enabled: false });
  return (
    <div>
      <div className="row spread">
        <p>
          <Badge tone="accent">{alias.id}</Badge> is <strong className="words">{alias.card}</strong> <span className="muted small">since {when(latest.at ?? 0)}</span>
        </p>
        <div className="row">
          <Button isDisabled={answer.isFetching} onPress={() => void answer.refetch()}>
            Ask who answers
          </Button>
          {key.admin && (
            <Button isDisabled={!canReturn} onPress={() => setAsking(true)}>
              Roll back…
            </Button>
          )}
        </div>
      </div>
      <WhoAnswered alias={alias} answer={answer} />
      <details>
        <summary className="muted small">History: {alias.history.length}</summary>
        <ol className="history" reversed>
          {[...alias.history].reverse().map((each) => (
            <li key={each.at}>
              <time className="muted small">{moment(each.at ?? 0)}</time> {each.rollback ? "back to" : ""} <strong className="words">{each.card}</strong>
              {each.verdict && <> · gate {each.verdict.passed ? "passed" : "failed"}</>}
              {each.forced && <> · in spite of the gate: “{each.forced}”</>}
            </li>
          ))}
        </ol>
      </details>
      {asking && <RollBack alias={alias} onClose={() => setAsking(false)} />}
    </div>
  );
}

/** What the log says of who answered last, when it was asked from here. */
function WhoAnswered({ alias, answer: { data, error, isFetching } }: { alias: Alias; answer: UseQueryResult<Answered> }) {
  return (
    <p role="status" className="small words">
      {isFetching && <span className="muted">Asking {alias.id}…</span>}
      {!isFetching && error && (
        <span className="complaint">
          Asked as {alias.id}, nobody answered: {message(error)}
        </span>
      )}
      {!isFetching && !error && data && (
        <span className={data.model === alias.card ? "" : "complaint"}>
          Asked as {alias.id}, <strong>{data.model}</strong> answered in {duration(data.seconds)}
          {data.weights && (
            <>
              {" "}
              · weights <span className="mono">{data.weights.slice(0, 19)}</span>
            </>
          )}{" "}
          · <Link to={toTrajectory(data.id)}>what it said</Link>
        </span>
      )}
    </p>
  );
}

function RollBack({ alias, onClose }: { alias: Alias; onClose: () => void }) {
  const move = useMove(onClose);
  return (
    <Dialog title={`Roll ${alias.id} back`} onClose={onClose}>
      <p>
        {alias.id} means {standing(alias).at(-2)} again, from the next request on.
      </p>
      {move.error && (
        <p role="alert" className="complaint words">
          {message(move.error)}
        </p>
      )}
      <div className="row">
        <Button kind="primary" isDisabled={move.isPending} onPress={() => move.mutate({ alias: alias.id, model: null, force: null })}>
          Roll back
        </Button>
        <Button onPress={onClose}>Leave it</Button>
      </div>
    </Dialog>
  );
}

/** The cards that stand one on another: a rollback takes the last one away. */
function standing(alias: Alias): string[] {
  const cards: string[] = [];
  for (const { card, rollback } of alias.history) {
    if (rollback) cards.pop();
    else cards.push(card);
  }
  return cards;
}
