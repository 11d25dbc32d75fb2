// What every client asks: the words of questions.py, handed over by whoever plays them.
export const q = JSON.parse(process.env.CLIENT_MATRIX_QUESTIONS);

export function weather({ city, days }) {
  return `${days} days of sun in ${city}`;
}

export function counting(client) {
  return q.COUNT.replace("{}", client);
}

export async function checkCancelled(client) {
  const deadline = Date.now() + 5000;
  while (Date.now() < deadline) {
    const { data } = await get("trajectories?outcomes=cancelled&limit=100");
    for (const header of data) {
      const whole = JSON.stringify(await get(`trajectories/${header.id}`));
      if (whole.includes(counting(client))) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the server did not record that the request was cancelled");
}

async function get(path) {
  return await (await fetch(`${q.URL}/${path}`)).json();
}
