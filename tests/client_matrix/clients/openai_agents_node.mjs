// OpenAI's agents SDK for JavaScript, on either of its models.
import { Agent, OpenAIProvider, Runner, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import assert from "node:assert/strict";
import { abortedWhileItRuns, checkCancelled, checkPieces, counting, q, weather } from "./questions.mjs";

setTracingDisabled(true);
const Place = z.object({ name: z.string(), rivers: z.number().int() });

function runner() {
  const openAIClient = new OpenAI({ baseURL: q.URL, apiKey: q.KEY, maxRetries: 0 });
  const useResponses = q.WIRE === "responses";
  return new Runner({ modelProvider: new OpenAIProvider({ openAIClient, useResponses }) });
}

function agent(model = q.MODEL, more = {}) {
  return new Agent({ name: "assistant", model, ...more });
}

export async function text() {
  assert.equal((await runner().run(agent(), q.HELLO)).finalOutput, q.GREETING);
}

export async function stream() {
  const texts = [];
  const answer = await runner().run(agent(), q.HELLO, { stream: true });
  for await (const text of answer.toTextStream()) texts.push(text);
  checkPieces(texts);
}

export async function tool_call() {
  const asked = [];
  const forecast = tool({
    name: "weather",
    description: "Tell the weather of a city.",
    parameters: z.object({ city: z.string(), days: z.number().int() }),
    execute: (args) => (asked.push(args), weather(args)),
  });
  const answer = await runner().run(agent(q.MODEL, { tools: [forecast] }), q.FORECAST);
  assert.equal(answer.finalOutput, q.FORECAST_ANSWER);
  assert.deepEqual(asked, [q.ARGUMENTS]);
}

export async function structured() {
  const answer = await runner().run(agent(q.MODEL, { outputType: Place }), q.PLACE);
  assert.deepEqual(answer.finalOutput, q.PLACE_READ);
}

export async function server_tool() {
  assert.equal((await runner().run(agent(q.AGENT), q.COMMAND)).finalOutput, q.COMMAND_ANSWER);
}

export async function error() {
  await assert.rejects(runner().run(agent(q.MISSING), q.HELLO), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.ok(error.message.includes(q.NOT_FOUND), error.message);
    return true;
  });
}

export async function cancel() {
  const signal = abortedWhileItRuns();
  await assert.rejects(runner().run(agent(), counting("openai_agents_node"), { signal }));
  await checkCancelled("openai_agents_node");
}
