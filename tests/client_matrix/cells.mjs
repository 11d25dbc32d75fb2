// Play one client's cells as cells.py does: `node cells.mjs FILE CELL…`, a line of JSON for each.
const [file, ...cells] = process.argv.slice(2);
const client = await import(`./${file}.mjs`);
for (const cell of cells.filter((cell) => cell in client)) {
  let failure = null;
  try {
    await client[cell]();
  } catch (error) {
    console.error(error);
    failure = `${error.name}: ${error.message}`.split("\n")[0].slice(0, 300);
  }
  // As Python spells it, for whoever reads both.
  console.log(`{"cell": ${JSON.stringify(cell)}, "failure": ${JSON.stringify(failure)}}`);
}
process.exit(0);
