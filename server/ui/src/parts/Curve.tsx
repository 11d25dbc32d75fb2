/** Values by step or by time: uPlot's curves in the page's colours, and the same as a table. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clock } from "./format";
import "./curve.css";

export interface Line {
  name: string;
  values: (number | null)[];
  tone: "accent" | "good" | "warn" | "bad";
}

interface Shown {
  /** What the curve is of; said to screen readers too. */
  label: string;
  /** What `x` counts. */
  over: string;
  x: number[];
  lines: Line[];
  /** How a value is spelt. */
  spell: (value: number) => string;
  /** `x` is Unix seconds, and what is shown is the last minutes. */
  times?: boolean;
  /** Values are counts: they begin at none, and there is nothing between two of them. */
  counts?: boolean;
}

const HEIGHT = 240;
const MOST_ROWS = 25;
const LAST_S = 300;
const FEW = 4;
/** Of an axis that has whole numbers only. */
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
/** An axis of times: each in full on one line, with so much room that two never touch. */
const CLOCKS: uPlot.Axis = { space: 110, values: (_, ticks) => ticks.map(clock) };

export function Curve({ label, over, x, lines, spell, times = false, counts = false }: Shown) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const named = lines.map((line) => `${line.tone} ${line.name}`).join("\n");

  useEffect(() => {
    const element = place.current!;
    const made = new uPlot(options(element, { over, lines, spell, times, counts }), [[], ...lines.map(() => [])], element);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    const stop = onColours(() => made.redraw());
    return () => {
      stop();
      resized.disconnect();
      made.destroy();
    };
    // Drawn anew only when there are other lines: new values are set below.
  }, [named, over, times, counts]);

  useEffect(() => {
    plot.current?.setData([x, ...lines.map((line) => line.values)] as uPlot.AlignedData);
  });

  return (
    <figure className="curve" aria-label={label}>
      <div ref={place} className="plot" aria-hidden="true" />
      <details>
        <summary className="small muted">The same as a table</summary>
        <div className="scroll" tabIndex={0}>
          <Rows over={over} x={x} lines={lines} spell={spell} times={times} />
        </div>
      </details>
    </figure>
  );
}

function Rows({ over, x, lines, spell, times }: Omit<Shown, "label">) {
  const every = Math.max(1, Math.ceil(x.length / MOST_ROWS));
  const shown = x.map((_, index) => index).filter((index) => index % every === 0 || index === x.length - 1);
  return (
    <table className="plain">
      <thead>
        <tr>
          <th className="number">{over}</th>
          {lines.map((line) => (
            <th key={line.name} className="number">
              {line.name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {shown.map((index) => (
          <tr key={index}>
            <td className="number">{times ? clock(x[index]!) : x[index]}</td>
            {lines.map((line) => (
              <td key={line.name} className="number">
                {line.values[index] == null ? "" : spell(line.values[index])}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function options(element: HTMLElement, { over, lines, spell, times = false, counts = false }: Omit<Shown, "label" | "x">): uPlot.Options {
  const axis = { stroke: () => colour(element, "--muted"), grid: { stroke: () => colour(element, "--line"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth || 300,
    height: HEIGHT,
    padding: [null, times ? 40 : null, null, null], // half of the last time's width
    scales: {
      x: { time: times, ...(times && { range: lastMinutes }) },
      y: counts ? { range: (_, _least, most) => [0, Math.max(FEW, most)] } : {},
    },
    axes: [{ ...axis, ...(times && CLOCKS) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(spell), ...(counts && { incrs: STEPS }) }],
    series: [
      { label: over, value: (_, value) => (value == null ? "–" : times ? clock(value) : String(value)) },
      ...lines.map((line) => ({
        label: line.name,
        stroke: () => colour(element, `--${line.tone}`),
        width: 2,
        spanGaps: true,
        value: (_: uPlot, value: number | null) => (value == null ? "–" : spell(value)),
      })),
    ],
  };
}

/** The times that are drawn. Of a single value uPlot itself would make an axis of a thousand days. */
function lastMinutes(plot: uPlot): [number, number] {
  const x = plot.data?.[0] ?? [];
  const until = x.at(-1) ?? Date.now() / 1000;
  return [Math.min(x[0] ?? until, until - LAST_S), until];
}

/** A variable's colour as the canvas needs it: light or dark is decided only where it is used. */
function colour(element: HTMLElement, variable: string): string {
  element.style.color = `var(${variable})`;
  const found = getComputedStyle(element).color;
  element.style.color = "";
  return found;
}

/** Calls back when the page turns light or dark. Returns how to stop that. */
function onColours(changed: () => void): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = new MutationObserver(changed);
  chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", changed);
  return () => {
    chosen.disconnect();
    system.removeEventListener("change", changed);
  };
}
