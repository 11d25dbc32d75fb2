/**
 * A conversation as the page holds it: what was asked, and each answer as blocks in the order in which they came.
 *
 * A stream tells thoughts and the tools' activity in one `reasoning`: a call of the server's begins with its own delta
 * (`\nAction: NAME\nAction Input: `), its arguments follow, and `agent_steps` ends it with what the tool said.
 */
export interface Words {
  kind: "thought" | "answer" | "refusal";
  text: string;
}

export interface Call {
  kind: "call";
  name: string;
  arguments: string;
  /** What the tool said; undefined: it runs still. */
  observation?: string;
  failed?: boolean;
  seconds?: number;
  /** Somebody has to decide on it, or has. */
  approval?: { id: string; decided?: boolean };
}

export type Block = Words | Call;

export interface Question {
  role: "user";
  text: string;
}

export interface Answer {
  role: "assistant";
  blocks: Block[];
  state: "running" | "done" | "stopped" | "cut" | "failed";
  /** Why the server says it ended. */
  finish?: string | null;
  error?: string;
  trajectory?: string | null;
}

export type Turn = Question | Answer;

export interface Delta {
  content?: string | null;
  refusal?: string | null;
  reasoning?: string | null;
  agent_steps?: { call: string; arguments: string; observation: string; failed: boolean; seconds: number }[];
  approval?: { id: string; call: string; arguments: string };
}

const CALL = /^\nAction: (.*)\nAction Input:? ?$/s;

/** The blocks after one more delta. */
export function told(blocks: Block[], delta: Delta): Block[] {
  const last = blocks.at(-1);
  const open = last?.kind === "call" && last.observation === undefined ? last : null;
  if (delta.approval) {
    const call: Call = { kind: "call", name: delta.approval.call, arguments: delta.approval.arguments, approval: { id: delta.approval.id } };
    return open ? replaced(blocks, { ...call }) : [...blocks, call];
  }
  if (delta.agent_steps) return delta.agent_steps.reduce(ended, blocks);
  if (delta.reasoning) {
    const call = CALL.exec(delta.reasoning);
    if (call) return [...blocks, { kind: "call", name: call[1]!, arguments: "" }];
    if (open) return replaced(blocks, { ...open, arguments: open.arguments + delta.reasoning });
    return said(blocks, "thought", delta.reasoning);
  }
  if (delta.refusal) return said(blocks, "refusal", delta.refusal);
  return delta.content ? said(blocks, "answer", delta.content) : blocks;
}

function ended(blocks: Block[], step: NonNullable<Delta["agent_steps"]>[number]): Block[] {
  const last = blocks.at(-1);
  const result = { name: step.call, arguments: step.arguments, observation: step.observation, failed: step.failed, seconds: step.seconds };
  if (last?.kind === "call" && last.observation === undefined) return replaced(blocks, { ...last, ...result });
  return [...blocks, { kind: "call", ...result }];
}

function said(blocks: Block[], kind: Words["kind"], text: string): Block[] {
  const last = blocks.at(-1);
  return last?.kind === kind ? replaced(blocks, { kind, text: last.text + text }) : [...blocks, { kind, text }];
}

function replaced(blocks: Block[], last: Block): Block[] {
  return [...blocks.slice(0, -1), last];
}

/** What was answered, as the next request repeats it. */
export function answerOf(turn: Answer): string {
  return turn.blocks.flatMap((block) => (block.kind === "answer" ? [block.text] : [])).join("");
}

/** The conversation in the API's words; an answer that never came is no message. */
export function messages(turns: Turn[]): { role: Turn["role"]; content: string }[] {
  return turns
    .map((turn) => ({ role: turn.role, content: turn.role === "user" ? turn.text : answerOf(turn) }))
    .filter((message) => message.content !== "");
}
