/** What models, tools and people say: text, whatever it looks like. */
import { useState } from "react";
import { number } from "./format";

const LONG = 2_000;

/** Text as it is; a long one is cut until somebody wants all of it. */
export function Text({ text, folded = false }: { text: string; folded?: boolean }) {
  const [whole, setWhole] = useState(false);
  const limit = folded ? 160 : LONG;
  if (whole || text.length <= limit) return <pre>{text}</pre>;
  return (
    <>
      <pre>{text.slice(0, limit)}…</pre>
      <button type="button" className="link small" onClick={() => setWhole(true)}>
        All {number(text.length)} characters
      </button>
    </>
  );
}

/** A call's arguments as one reads them: a lone text argument as text, an object indented. */
export function readable(json: string): string {
  try {
    const value = JSON.parse(json) as unknown;
    if (value === null || typeof value !== "object") return json;
    const fields = Object.values(value);
    return fields.length === 1 && typeof fields[0] === "string" ? fields[0] : JSON.stringify(value, null, 2);
  } catch {
    return json;
  }
}
