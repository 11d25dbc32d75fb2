// OpenAI's package for JavaScript.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import assert from "node:assert/strict";
import { checkCancelled, checkPieces, counting, q, weather } from "./questions.mjs";

const { completions } = new OpenAI({ baseURL: q.URL, apiKey: q.KEY, maxRetries: 0 }).chat;
const Place = z.object({ name: z.string(), rivers: z.number().int() });

function asking(content, more = {}) {
  return { model: q.MODEL, messages: [{ role: "user", content }], ...more };
}

export async function text() {
  const answer = await completions.create(asking(q.HELLO));
  assert.equal(answer.choices[0].message.content, q.GREETING);
}

export async function stream() {
  const texts = [];
  for await (const chunk of await completions.create(asking(q.HELLO, { stream: true }))) {
    if (chunk.choices[0]?.delta.content) texts.push(chunk.choices[0].delta.content);
  }
  checkPieces(texts);
}

export async function tool_call() {
  const asked = [];
  const run = (args) => (asked.push(args), weather(args));
  const tool = { ...q.TOOL, function: { ...q.TOOL.function, function: run, parse: JSON.parse } };
  const runner = completions.runTools(asking(q.FORECAST, { tools: [tool] }));
  assert.equal(await runner.finalContent(), q.FORECAST_ANSWER);
  assert.deepEqual(asked, [q.ARGUMENTS]);
}

export async function structured() {
  const form = { response_format: zodResponseFormat(Place, "place") };
  const answer = await completions.parse(asking(q.PLACE, form));
  assert.deepEqual(answer.choices[0].message.parsed, q.PLACE_READ);
}

export async function server_tool() {
  const answer = await completions.create(asking(q.COMMAND, { tools: [q.BASH] }));
  assert.equal(answer.choices[0].message.content, q.COMMAND_ANSWER);
}

export async function error() {
  await assert.rejects(completions.create(asking(q.HELLO, { model: q.MISSING })), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.ok(error.message.includes(q.NOT_FOUND), error.message);
    return true;
  });
}

export async function cancel() {
  const chunks = await completions.create(asking(counting("openai_node"), { stream: true }));
  for await (const chunk of chunks) {
    if (chunk.choices[0].delta.content) break;
  }
  await checkCancelled("openai_node");
}
