// LangChain's `ChatOpenAI` for JavaScript, and its agent, which is LangGraph's.
import { createAgent, tool } from "langchain";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";
import assert from "node:assert/strict";
import { abortedWhileItRuns, checkCancelled, checkPieces, counting, q, weather } from "./questions.mjs";

const Place = z.object({ name: z.string(), rivers: z.number().int() });

function chat(model = q.MODEL) {
  return new ChatOpenAI({
    model,
    apiKey: q.KEY,
    maxRetries: 0,
    useResponsesApi: q.WIRE === "responses",
    configuration: { baseURL: q.URL },
  });
}

export async function text() {
  assert.equal((await chat().invoke(q.HELLO)).text, q.GREETING);
}

export async function stream() {
  const texts = [];
  for await (const chunk of await chat().stream(q.HELLO)) texts.push(chunk.text);
  checkPieces(texts);
}

export async function tool_call() {
  const asked = [];
  const forecast = tool((args) => (asked.push(args), weather(args)), {
    name: "weather",
    description: "Tell the weather of a city.",
    schema: z.object({ city: z.string(), days: z.number().int() }),
  });
  const agent = createAgent({ model: chat(), tools: [forecast] });
  const { messages } = await agent.invoke({ messages: [{ role: "user", content: q.FORECAST }] });
  assert.equal(messages.at(-1).text, q.FORECAST_ANSWER);
  assert.deepEqual(asked, [q.ARGUMENTS]);
}

export async function structured() {
  const reader = chat().withStructuredOutput(Place, { method: "jsonSchema" });
  assert.deepEqual(await reader.invoke(q.PLACE), q.PLACE_READ);
}

export async function server_tool() {
  const answer = await chat().invoke(q.COMMAND, { tools: [q.BASH] });
  assert.equal(answer.text, q.COMMAND_ANSWER);
}

export async function error() {
  await assert.rejects(chat(q.MISSING).invoke(q.HELLO), (error) => {
    assert.equal(error.status, 404);
    assert.ok(error.message.includes(q.NOT_FOUND), error.message);
    return true;
  });
}

export async function cancel() {
  const signal = abortedWhileItRuns();
  await assert.rejects(chat().invoke(counting("langchain_node"), { signal }));
  await checkCancelled("langchain_node");
}
