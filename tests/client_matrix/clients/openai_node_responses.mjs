// OpenAI's package for JavaScript over the Responses API.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import assert from "node:assert/strict";
import { checkCancelled, checkPieces, counting, q, weather } from "./questions.mjs";

const { responses } = new OpenAI({ baseURL: q.URL, apiKey: q.KEY, maxRetries: 0 });
const Place = z.object({ name: z.string(), rivers: z.number().int() });

function asking(input, more = {}) {
  return { model: q.MODEL, input, ...more };
}

export async function text() {
  assert.equal((await responses.create(asking(q.HELLO))).output_text, q.GREETING);
}

export async function stream() {
  const texts = [];
  for await (const event of await responses.create(asking(q.HELLO, { stream: true }))) {
    if (event.type === "response.output_text.delta") texts.push(event.delta);
  }
  checkPieces(texts);
}

export async function tool_call() {
  const tools = [{ ...q.FUNCTION, strict: false }];
  const asked = await responses.create(asking(q.FORECAST, { tools }));
  const call = asked.output.find((item) => item.type === "function_call");
  assert.deepEqual(JSON.parse(call.arguments), q.ARGUMENTS);
  const output = weather(JSON.parse(call.arguments));
  const result = { type: "function_call_output", call_id: call.call_id, output };
  const more = { tools, previous_response_id: asked.id };
  const answer = await responses.create(asking([result], more));
  assert.equal(answer.output_text, q.FORECAST_ANSWER);
}

export async function structured() {
  const text = { format: zodTextFormat(Place, "place") };
  const answer = await responses.parse(asking(q.PLACE, { text }));
  assert.deepEqual(answer.output_parsed, q.PLACE_READ);
}

export async function server_tool() {
  const answer = await responses.create(asking(q.COMMAND, { tools: [q.BASH] }));
  assert.equal(answer.output_text, q.COMMAND_ANSWER);
  assert.equal(answer.output.find((item) => item.type === "mcp_call").output, "ran ls");
}

export async function error() {
  await assert.rejects(responses.create(asking(q.HELLO, { model: q.MISSING })), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.ok(error.message.includes(q.NOT_FOUND), error.message);
    return true;
  });
}

export async function cancel() {
  const events = await responses.create(asking(counting("openai_node"), { stream: true }));
  for await (const event of events) {
    if (event.type === "response.output_text.delta") break;
  }
  await checkCancelled("openai_node");
}
