/** Talk with a served model and watch it act. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { api, ask } from "../../api/client";
import type { Model } from "../../api/types";
import { useKey } from "../../frame/session";
import { Badge, Button, Switch } from "../../parts/controls";
import { duration } from "../../parts/format";
import { message, pending } from "../../parts/states";
import { readable, Text } from "../../parts/text";
import { again, type Asking, begin, decided, say, stop, useTurns } from "./conversation";
import { type Example, examplesOf } from "./examples";
import { Approvals } from "./Approvals";
import type { Answer, Block, Call } from "./turns";
import "./chat.css";

export default function Chat() {
  const models = useQuery({ queryKey: ["models"], queryFn: () => ask(api.GET("/v1/models")) });
  return pending(models, "models") ?? <Conversation models={models.data!.data} />;
}

function Conversation({ models }: { models: Model[] }) {
  const key = useKey();
  const turns = useTurns();
  const [params, setParams] = useSearchParams();
  const model = models.find((each) => each.id === params.get("model")) ?? models[0];
  const asking: Asking = {
    model: model?.id ?? "",
    tools: (params.get("tools") ?? "").split(",").filter((name) => key.tools.includes(name)),
  };
  const set = (name: string, value: string) =>
    setParams((before) => {
      const after = new URLSearchParams(before);
      if (value) after.set(name, value);
      else after.delete(name);
      return after;
    }, { replace: true });
  const last = turns.at(-1);
  const running = last?.role === "assistant" && last.state === "running";

  return (
    <div className="chat">
      <h1 className="hidden">Chat</h1>
      <div className="asking">
        <label className="row">
          <span className="label">Model</span>
          <select value={asking.model} onChange={(event) => set("model", event.target.value)}>
            {models.map(({ id }) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </label>
        <div className="row" role="group" aria-label="Tools that it may use">
          {key.tools.map((name) => (
            <Switch
              key={name}
              isSelected={asking.tools.includes(name)}
              onChange={(on) => set("tools", on ? [...asking.tools, name].join() : asking.tools.filter((each) => each !== name).join())}
            >
              {name}
            </Switch>
          ))}
        </div>
        <Button onPress={begin} isDisabled={turns.length === 0}>
          New conversation
        </Button>
      </div>
      <Log turns={turns} asking={asking} examples={examplesOf(model).filter(({ tools }) => tools.every((name) => key.tools.includes(name)))} onTools={(tools) => set("tools", tools.join())} />
      <Approvals />
      <Composer running={running} asking={asking} />
    </div>
  );
}

interface LogProps {
  turns: ReturnType<typeof useTurns>;
  asking: Asking;
  examples: Example[];
  onTools: (tools: string[]) => void;
}

function Log({ turns, asking, examples, onTools }: LogProps) {
  const log = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  useLayoutEffect(() => {
    // Whoever scrolled up to read stays where they are.
    if (follows.current && log.current) log.current.scrollTop = log.current.scrollHeight;
  }, [turns]);
  const last = turns.at(-1);
  return (
    <div
      ref={log}
      className="log"
      role="log"
      aria-label="Conversation"
      aria-busy={last?.role === "assistant" && last.state === "running"}
      tabIndex={0}
      onScroll={({ currentTarget: at }) => (follows.current = at.scrollHeight - at.scrollTop - at.clientHeight < 40)}
    >
      {turns.length === 0 && <Examples {...{ asking, examples, onTools }} />}
      {turns.map((turn, index) =>
        turn.role === "user" ? (
          <article key={index} className="turn user" aria-label="You">
            <pre>{turn.text}</pre>
          </article>
        ) : (
          <AnswerTurn key={index} turn={turn} last={turn === last} asking={asking} />
        ),
      )}
    </div>
  );
}

function Examples({ asking, examples, onTools }: Omit<LogProps, "turns">) {
  return (
    <div className="state first">
      <h2>Ask something, or try one of these</h2>
      <p>The model thinks, calls the tools that are switched on, and answers. You see each step as it happens, and it is recorded.</p>
      <div className="column examples">
        {examples.map((example) => (
          <Button
            key={example.text}
            onPress={() => {
              onTools(example.tools);
              void say(example.text, { ...asking, tools: example.tools, temperature: 0 }); // as it was tested
            }}
          >
            {example.text}
            {example.tools.map((name) => (
              <Badge key={name}>{name}</Badge>
            ))}
          </Button>
        ))}
      </div>
    </div>
  );
}

function AnswerTurn({ turn, last, asking }: { turn: Answer; last: boolean; asking: Asking }) {
  return (
    <article className="turn assistant" aria-label="The model">
      {turn.blocks.map((block, index) => (
        <BlockView key={index} block={block} running={turn.state === "running"} />
      ))}
      {turn.state === "running" && turn.blocks.length === 0 && <p className="muted">Thinking…</p>}
      <footer className="row small">
        <End turn={turn} />
        {turn.trajectory && turn.state !== "running" && <a href={`#/trajectories?${new URLSearchParams({ open: turn.trajectory })}`}>The trajectory</a>}
        {last && turn.state !== "running" && (turn.state !== "done" || turn.finish !== "stop") && <GoOn turn={turn} asking={asking} />}
      </footer>
    </article>
  );
}

function End({ turn }: { turn: Answer }) {
  switch (turn.state) {
    case "stopped":
      return <span className="muted">You stopped it.</span>;
    case "cut":
      return (
        <span role="alert" className="complaint">
          The connection was cut. What came is above.
        </span>
      );
    case "failed":
      return (
        <span role="alert" className="complaint">
          {turn.error}
        </span>
      );
    case "done":
      return turn.finish === "length" ? <span className="muted">It reached a limit.</span> : null;
    default:
      return null;
  }
}

function GoOn({ turn, asking }: { turn: Answer; asking: Asking }) {
  const answered = turn.blocks.some((block) => block.kind === "answer");
  return (
    <>
      {answered && <Button onPress={() => void say("Go on.", asking)}>Go on</Button>}
      <Button onPress={() => void again(asking)}>Try again</Button>
    </>
  );
}

function BlockView({ block, running }: { block: Block; running: boolean }) {
  if (block.kind === "call") return <CallView call={block} running={running} />;
  if (block.kind === "thought") return <p className="thought">{block.text}</p>;
  return <pre className={block.kind}>{block.text}</pre>;
}

function CallView({ call, running }: { call: Call; running: boolean }) {
  return (
    <div className="call">
      <div className="row">
        <code>{call.name}</code>
        {call.observation === undefined ? (
          running && !call.approval && <span className="muted small">…</span>
        ) : (
          <Badge tone={call.failed ? "bad" : "neutral"}>
            {call.failed ? "failed" : "done"} · {duration(call.seconds ?? 0)}
          </Badge>
        )}
      </div>
      <pre>{readable(call.arguments)}</pre>
      {call.approval && call.observation === undefined && running && <Decide id={call.approval.id} decision={call.approval.decided} />}
      {call.observation !== undefined && (
        <div className="observation">
          <Text text={call.observation} />
        </div>
      )}
    </div>
  );
}

/** Approve or deny a call that waits; a key that may not decide is told that somebody must. */
export function Decide({ id, decision }: { id: string; decision: boolean | undefined }) {
  const key = useKey();
  const decide = useMutation({
    mutationFn: (approve: boolean) => ask(api.POST("/v1/approvals/{approval_id}", { params: { path: { approval_id: id } }, body: { approve } })),
    onSuccess: (_answer, approve) => decided(id, approve),
  });
  if (decision !== undefined) return <p className="muted">{decision ? "You approved it." : "You denied it."}</p>;
  if (!key.may_decide) return <p className="muted">It waits for somebody who may approve it.</p>;
  return (
    <div className="row" role="group" aria-label="A call waits for you">
      <strong>May it do this?</strong>
      <Button kind="primary" isDisabled={decide.isPending} onPress={() => decide.mutate(true)}>
        Approve
      </Button>
      <Button kind="danger" isDisabled={decide.isPending} onPress={() => decide.mutate(false)}>
        Deny
      </Button>
      {decide.error && (
        <span role="alert" className="complaint">
          {message(decide.error)}
        </span>
      )}
    </div>
  );
}

function Composer({ running, asking }: { running: boolean; asking: Asking }) {
  const [text, setText] = useState("");
  function submit(event?: FormEvent) {
    event?.preventDefault();
    if (running || !text.trim()) return;
    setText("");
    void say(text, asking);
  }
  function press(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  }
  return (
    <form className="composer" onSubmit={submit}>
      <textarea rows={2} aria-label="Your message" placeholder="Ask something (Shift+Enter for a new line)" value={text} onChange={(event) => setText(event.target.value)} onKeyDown={press} autoFocus />
      {running ? (
        <Button kind="danger" onPress={stop}>
          Stop
        </Button>
      ) : (
        <Button kind="primary" type="submit" isDisabled={!text.trim() || !asking.model}>
          Send
        </Button>
      )}
    </form>
  );
}
