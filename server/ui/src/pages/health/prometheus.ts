/** Prometheus' text format, as far as a page of figures needs it. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([\w:]+)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parse(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) return [];
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, unescaped(value!)]));
    return [{ name: found[1]!, labels, value: Number(found[3]) }];
  });
}

const unescaped = (text: string): string => text.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));

/** All samples of a name together, of those with these labels; undefined if there is none. */
export function sum(samples: Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  const found = samples.filter((each) => each.name === name && Object.entries(labels).every(([label, value]) => each.labels[label] === value));
  return found.length ? found.reduce((total, each) => total + each.value, 0) : undefined;
}

/** A part of a whole; undefined while there is no whole. */
export function share(samples: Sample[], part: string, whole: string): number | undefined {
  const all = sum(samples, whole);
  return all ? (sum(samples, part) ?? 0) / all : undefined;
}

/** The mean of a histogram. */
export function mean(samples: Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  const count = sum(samples, `${name}_count`, labels);
  return count ? (sum(samples, `${name}_sum`, labels) ?? 0) / count : undefined;
}

/** The values that a label of a metric has. */
export function labelled(samples: Sample[], name: string, label: string): string[] {
  return [...new Set(samples.filter((each) => each.name === name).map((each) => each.labels[label] ?? ""))];
}
