/** A share of one with its interval: drawn, and in figures. */
import { percent } from "./format";
import "./share.css";

export type Interval = readonly number[];

const WIDTH = 120;
const HEIGHT = 14;

export function Share({ value, interval, floor }: { value: number; interval?: Interval | null; floor?: number }) {
  return (
    <span className="share">
      <span className="figures">{percent(value)}</span>
      <svg width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
        <rect className="rail" x={0} y={HEIGHT / 2 - 2} width={WIDTH} height={4} rx={2} />
        {interval && (
          <rect className="between" x={interval[0]! * WIDTH} y={HEIGHT / 2 - 2} width={Math.max(1, (interval[1]! - interval[0]!) * WIDTH)} height={4} rx={2} />
        )}
        {floor !== undefined && <rect className="floor" x={floor * WIDTH} y={0} width={2} height={HEIGHT} />}
        <circle cx={Math.min(WIDTH - 4, Math.max(4, value * WIDTH))} cy={HEIGHT / 2} r={4} />
      </svg>
      {interval && <span className="muted small figures">{spelledInterval(interval)}</span>}
    </span>
  );
}

export function Gain({ value, interval }: { value: number; interval: Interval }) {
  const tone = interval[0]! > 0 ? "good" : interval[1]! < 0 ? "bad" : "";
  return (
    <span className="share">
      <span className={`figures gain ${tone}`}>{signed(value)}</span>
      <span className="muted small figures">
        {signed(interval[0]!)} … {signed(interval[1]!)}
      </span>
    </span>
  );
}

export const spelledInterval = (interval: Interval): string => `${percent(interval[0]!)} … ${percent(interval[1]!)}`;

export const signed = (share: number): string => `${share > 0 ? "+" : share < 0 ? "−" : "±"}${(Math.abs(share) * 100).toFixed(1)}%`;

const Z = 1.96;

/** Wilson's 95% interval of a mean of values in [0, 1]; for other than 0 and 1 it is wider than need be. */
export function wilson(mean: number, count: number): [number, number] {
  if (count === 0) return [0, 1];
  const z = Z ** 2 / count;
  const centre = (mean + z / 2) / (1 + z);
  const half = (Z * Math.sqrt((mean * (1 - mean)) / count + z / (4 * count))) / (1 + z);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
