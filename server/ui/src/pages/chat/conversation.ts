/** The conversation that is open. It outlives the page that shows it: an answer goes on while one looks elsewhere. */
import { useSyncExternalStore } from "react";
import { CutError, send } from "../../api/client";
import { message } from "../../parts/states";
import { events } from "./stream";
import { type Answer, type Delta, messages, told, type Turn } from "./turns";

export interface Asking {
  model: string;
  tools: string[];
  /** How tokens are drawn; the model's own way if it is not set. */
  temperature?: number;
}

let turns: Turn[] = [];
let running: AbortController | null = null;
let due = 0;
const listeners = new Set<() => void>();

export function useTurns(): Turn[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => turns,
  );
}

/** Tell those who look, at most once for each picture that is drawn. */
function change(after: Turn[], now = true) {
  turns = after;
  if (now) {
    cancelAnimationFrame(due);
    due = 0;
    for (const listener of listeners) listener();
  } else if (!due) {
    // A hidden tab draws nothing, and is told when it is seen again.
    due = requestAnimationFrame(() => change([...turns]));
  }
}

function update(changes: Partial<Answer>, now = true) {
  change([...turns.slice(0, -1), { ...(turns.at(-1) as Answer), ...changes }], now);
}

export function begin(): void {
  running?.abort();
  running = null;
  change([]);
}

export function stop(): void {
  running?.abort();
}

/** Note that somebody decided on a call that waited. */
export function decided(id: string, approve: boolean): void {
  change(
    turns.map((turn) =>
      turn.role === "user"
        ? turn
        : { ...turn, blocks: turn.blocks.map((block) => (block.kind === "call" && block.approval?.id === id ? { ...block, approval: { id, decided: approve } } : block)) },
    ),
  );
}

export async function say(text: string, asking: Asking): Promise<void> {
  await answer([...turns, { role: "user", text }], asking);
}

/** Ask for the last answer anew. */
export async function again(asking: Asking): Promise<void> {
  await answer(turns.slice(0, turns.findLastIndex((turn) => turn.role === "user") + 1), asking);
}

async function answer(before: Turn[], asking: Asking): Promise<void> {
  running?.abort();
  const abort = new AbortController();
  running = abort;
  change([...before, { role: "assistant", blocks: [], state: "running" }]);
  const mine = () => running === abort;
  try {
    const body = {
      model: asking.model,
      messages: messages(before),
      stream: true,
      ...(asking.temperature === undefined ? {} : { temperature: asking.temperature }),
      ...(asking.tools.length ? { tools: asking.tools.map((type) => ({ type })) } : {}),
    };
    const response = await send("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: abort.signal,
    });
    if (mine()) update({ trajectory: response.headers.get("x-trajectory-id") });
    for await (const data of events(response)) {
      if (!mine()) return;
      take(JSON.parse(data) as Chunk);
    }
    if (mine()) update({ state: "done" });
  } catch (error) {
    if (!mine()) return;
    const aborted = error instanceof DOMException && error.name === "AbortError";
    if (aborted) update({ state: "stopped" });
    else update({ state: error instanceof CutError ? "cut" : "failed", error: message(error) });
  } finally {
    if (mine()) running = null;
  }
}

interface Chunk {
  error?: { message: string };
  choices?: { delta: Delta; finish_reason: string | null }[];
}

function take(chunk: Chunk) {
  if (chunk.error) throw new Error(chunk.error.message);
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const last = turns.at(-1) as Answer;
  update({ blocks: told(last.blocks, choice.delta), ...(choice.finish_reason ? { finish: choice.finish_reason } : {}) }, false);
}
