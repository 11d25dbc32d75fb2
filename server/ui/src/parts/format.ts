/** Numbers and times as a reader wants them, in the browser's own language. */
const NUMBER = new Intl.NumberFormat();
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

export const number = (value: number): string => NUMBER.format(value);
export const short = (value: number): string => SHORT.format(value);

/** A moment in full, from Unix seconds. */
export const moment = (unix: number): string => MOMENT.format(unix * 1000);

/** The time of a day, from Unix seconds. */
export const clock = (unix: number): string => TIME.format(unix * 1000);

/** The same as short as a table wants it: today's without the day. */
export function when(unix: number): string {
  const at = new Date(unix * 1000);
  return at.toDateString() === new Date().toDateString() ? TIME.format(at) : DAY.format(at);
}

export function duration(seconds: number): string {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A share of one, as a percentage. */
export const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
export const reward = (value: number | null | undefined): string => (value == null ? "–" : value.toFixed(2).replace(/\.?0+$/, ""));
