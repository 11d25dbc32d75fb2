// What every client asks: the words of questions.py, handed over by whoever plays them.
import assert from "node:assert/strict";

export const q = JSON.parse(process.env.CLIENT_MATRIX_QUESTIONS);

export function weather({ city, days }) {
  return `${days} days of sun in ${city}`;
}

export function counting(client) {
  return q.COUNT.replace("{}", `${client}, ${q.WIRE}`);
}

export function checkPieces(texts) {
  assert.equal(texts.join(""), q.GREETING);
  assert.ok(texts.filter(Boolean).length > 2, "it came in one piece");
}

/** Aborts as soon as the server answers: clients are played one after another. */
export function abortedWhileItRuns() {
  const aborting = new AbortController();
  waitUntilItRuns().then(() => aborting.abort());
  return aborting.signal;
}

export async function waitUntilItRuns() {
  for (const deadline = Date.now() + 30000; Date.now() < deadline; ) {
    if (/^agentlm_running [1-9]/m.test(await metrics())) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function checkCancelled(client) {
  const deadline = Date.now() + 20000;
  const others = new Set();
  while (Date.now() < deadline) {
    const { data } = await get("trajectories?outcomes=cancelled&limit=100");
    for (const { id } of data.filter(({ id }) => !others.has(id))) {
      const whole = JSON.stringify(await get(`trajectories/${id}`));
      if (whole.includes(counting(client))) return;
      others.add(id);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the server did not record that the request was cancelled");
}

/** Of answers that are not kept the log has nothing: they are counted. */
export async function checkOneMore(before) {
  for (const deadline = Date.now() + 20000; Date.now() < deadline; ) {
    if ((await cancelledSoFar()) > before) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the server did not count that the request was cancelled");
}

export async function cancelledSoFar() {
  const count = /^agentlm_choices_total{outcome="cancelled"} (\d+)/m.exec(await metrics());
  return count ? Number(count[1]) : 0;
}

async function metrics() {
  return await (await fetch(q.URL.replace(/\/v1$/, "/metrics"))).text();
}

async function get(path) {
  return await (await fetch(`${q.URL}/${path}`)).json();
}
