/** The same request for each of many, a few at a time, stopping at the first that fails. */
import { useState } from "react";

const AT_ONCE = 4;

export interface Progress {
  done: number;
  total: number;
}

export function useEach() {
  const [progress, setProgress] = useState<Progress | null>(null);
  const [error, setError] = useState<unknown>(null);

  /** The answers in the order of the ids; null if one failed, which `error` then tells. */
  async function run<T>(ids: string[], one: (id: string) => Promise<T>): Promise<T[] | null> {
    const answers: T[] = new Array(ids.length);
    let next = 0;
    let done = 0;
    let failed = false;
    setError(null);
    setProgress({ done, total: ids.length });
    async function work() {
      while (next < ids.length && !failed) {
        const place = next++;
        answers[place] = await one(ids[place]!);
        setProgress({ done: ++done, total: ids.length });
      }
    }
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      return answers;
    } catch (caught) {
      failed = true;
      setError(caught);
      return null;
    } finally {
      setProgress(null);
    }
  }

  return { progress, error, run };
}
