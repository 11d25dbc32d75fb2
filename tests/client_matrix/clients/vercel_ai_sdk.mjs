// Vercel's AI SDK: its provider for OpenAI over the Responses API, that for servers of OpenAI's kind
// over chat.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import assert from "node:assert/strict";
import { abortedWhileItRuns, checkCancelled, checkPieces, counting, q, weather } from "./questions.mjs";

const server = { name: "agentlm", baseURL: q.URL, apiKey: q.KEY };
const providers = {
  chat: createOpenAICompatible({ ...server, supportsStructuredOutputs: true }),
  responses: createOpenAI(server),
};
const Place = z.object({ name: z.string(), rivers: z.number().int() });

function asking(prompt, model = q.MODEL) {
  return { model: providers[q.WIRE](model), prompt, maxRetries: 0 };
}

export async function text() {
  assert.equal((await generateText(asking(q.HELLO))).text, q.GREETING);
}

export async function stream() {
  const texts = [];
  for await (const text of streamText(asking(q.HELLO)).textStream) texts.push(text);
  checkPieces(texts);
}

export async function tool_call() {
  const asked = [];
  const forecast = tool({
    description: "Tell the weather of a city.",
    inputSchema: z.object({ city: z.string(), days: z.number().int() }),
    execute: async (args) => (asked.push(args), weather(args)),
  });
  const tools = { weather: forecast };
  const answer = await generateText({
    ...asking(q.FORECAST),
    tools,
    stopWhen: stepCountIs(3),
  });
  assert.equal(answer.text, q.FORECAST_ANSWER);
  assert.deepEqual(asked, [q.ARGUMENTS]);
}

export async function structured() {
  const answer = await generateText({
    ...asking(q.PLACE),
    output: Output.object({ schema: Place }),
  });
  assert.deepEqual(answer.output, q.PLACE_READ);
}

export async function server_tool() {
  assert.equal((await generateText(asking(q.COMMAND, q.AGENT))).text, q.COMMAND_ANSWER);
}

export async function error() {
  await assert.rejects(generateText(asking(q.HELLO, q.MISSING)), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.ok(error.message.includes(q.NOT_FOUND), error.message);
    return true;
  });
}

export async function cancel() {
  const abortSignal = abortedWhileItRuns();
  const options = { ...asking(counting("vercel_ai_sdk")), abortSignal };
  await assert.rejects(generateText(options));
  await checkCancelled("vercel_ai_sdk");
}
