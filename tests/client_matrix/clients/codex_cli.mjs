// OpenAI's Codex CLI: `codex exec`, by its defaults but for the server's address.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cancelledSoFar, checkOneMore, counting, q, waitUntilItRuns } from "./questions.mjs";

const CODEX = createRequire(import.meta.url).resolve("@openai/codex/bin/codex.js");
const SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, rivers: { type: "integer" } },
  required: ["name", "rivers"],
  additionalProperties: false,
};

/** A folder with the server as a provider, where sessions are kept too. */
function configured() {
  const home = mkdtempSync(join(homedir(), "codex-"));
  const settings = { name: "AgentLM", base_url: q.URL, env_key: "OPENAI_API_KEY" };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = "${value}"`);
  const provider = ["[model_providers.agentlm]", ...lines, "request_max_retries = 0", "stream_max_retries = 0"];
  writeFileSync(join(home, "config.toml"), ['model_provider = "agentlm"', ...provider].join("\n"));
  return home;
}

function started(prompt, { model = q.MODEL, options = [] } = {}) {
  const command = [CODEX, "exec", "--json", "--skip-git-repo-check", "--sandbox", "danger-full-access"];
  return spawn(process.execPath, [...command, "--model", model, ...options, prompt], {
    env: { ...process.env, CODEX_HOME: configured() },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** The events that it prints, all of them. */
async function events(prompt, options) {
  const lines = createInterface({ input: started(prompt, options).stdout });
  const printed = [];
  for await (const line of lines) printed.push(JSON.parse(line));
  return printed;
}

/** The items of its answer of a type. */
function items(printed, type) {
  return printed.filter((event) => event.type === "item.completed" && event.item.type === type).map(({ item }) => item);
}

function answer(printed) {
  const [message] = items(printed, "agent_message");
  assert.ok(message, JSON.stringify(printed.at(-1)));
  return message.text;
}

export async function text() {
  const printed = await events(q.HELLO);
  assert.equal(answer(printed), q.GREETING);
  assert.ok(printed.at(-1).usage.output_tokens > 0);
}

/** Its shell: it runs the command, and says what came of it. */
export async function tool_call() {
  const printed = await events("Call exec_command with 'pwd'.");
  const [command] = items(printed, "command_execution");
  assert.equal(command.exit_code, 0);
  assert.match(command.command, /pwd/);
  assert.ok(answer(printed).includes(process.cwd()), answer(printed));
}

export async function structured() {
  const file = join(homedir(), "place.json");
  writeFileSync(file, JSON.stringify(SCHEMA));
  const printed = await events(q.PLACE, { options: ["--output-schema", file] });
  assert.deepEqual(JSON.parse(answer(printed)), q.PLACE_READ);
}

/** Its `web_search`, which it declares by itself and the server runs. */
export async function server_tool() {
  const printed = await events("Call web_search for 'Rome'.");
  assert.equal(items(printed, "web_search").length, 1, JSON.stringify(printed));
  assert.equal(answer(printed), "The tool says: found Rome");
}

export async function error() {
  const failed = (await events(q.HELLO, { model: q.MISSING })).at(-1);
  assert.equal(failed.type, "turn.failed");
  assert.ok(failed.error.message.includes(q.NOT_FOUND), failed.error.message);
}

/** It has no answers kept. */
export async function cancel() {
  const before = await cancelledSoFar();
  const child = started(counting(import.meta.url));
  await waitUntilItRuns();
  child.kill("SIGINT");
  await checkOneMore(before);
}
