// Vercel's AI SDK, with its provider for servers of OpenAI's kind.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import assert from "node:assert/strict";
import { checkCancelled, counting, q, weather } from "./questions.mjs";

const provider = createOpenAICompatible({
  name: "agentlm",
  baseURL: q.URL,
  apiKey: q.KEY,
  supportsStructuredOutputs: true,
});
const Place = z.object({ name: z.string(), rivers: z.number().int() });

function asking(prompt, model = q.MODEL) {
  return { model: provider(model), prompt, maxRetries: 0 };
}

export async function text() {
  assert.equal((await generateText(asking(q.HELLO))).text, q.GREETING);
}

export async function stream() {
  const texts = [];
  for await (const text of streamText(asking(q.HELLO)).textStream) texts.push(text);
  assert.equal(texts.join(""), q.GREETING);
  assert.ok(texts.length > 2, "it came in one piece");
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
  const aborting = new AbortController();
  const options = { ...asking(counting("vercel_ai_sdk")), abortSignal: aborting.signal };
  setTimeout(() => aborting.abort(), 1000);
  await assert.rejects(generateText(options));
  await checkCancelled("vercel_ai_sdk");
}
