// Play one client's cells as cells.py does: `node cells.mjs FILE WIRES CELLS`, both with commas,
// a line of JSON for each.
import { q } from "./questions.mjs";

const [file, wires, cells] = process.argv.slice(2);
const client = await import(`./${file}.mjs`);
for (const wire of wires.split(",")) {
  q.WIRE = wire;
  for (const cell of cells.split(",").filter((cell) => cell in client)) await play(cell);
}
process.exit(0);

async function play(cell) {
  let failure = null;
  try {
    await client[cell]();
  } catch (error) {
    console.error(error);
    failure = `${error.name}: ${error.message}`.split("\n")[0].slice(0, 300);
  }
  // Begins as Python spells it, for whoever reads both.
  console.log(`{"cell": ${JSON.stringify(cell)}, ${JSON.stringify({ wire: q.WIRE, failure }).slice(1)}`);
}
