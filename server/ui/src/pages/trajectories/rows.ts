/**
 * A list of any length: pages are read by cursor as they come into sight and forgotten when they are out of it.
 *
 * What is remembered of a page that is not in sight is how many rows it has and the id that the next one begins
 * after. New trajectories come on top, so only the first page changes; the others are read anew after it, because their
 * cursors are others then.
 */
import { queryOptions, useQueries, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { api, ask, CutError } from "../../api/client";
import type { Header } from "../../api/types";
import type { Conditions } from "./address";

const PAGE = 100;
const LIVE_MS = 3_000;
const FORGET_MS = 20_000;

interface ListAnswer {
  data: Header[];
  last_id: string | null;
  has_more: boolean;
}

interface Known {
  size: number;
  /** What the next page begins after; null: there is none. */
  next: string | null;
}

export interface Rows {
  /** How many are known. */
  count: number;
  more: boolean;
  at: (index: number) => Header | undefined;
  /** Where one is now, among the pages in sight. */
  indexOf: (id: string | null) => number | undefined;
  /** The ids from one index to another, both included; pages that were forgotten are read again. */
  between: (first: number, last: number) => Promise<string[]>;
  error: unknown;
  loading: boolean;
  retry: () => void;
}

export function useRows(conditions: Conditions, seen: { first: number; last: number }, live: boolean): Rows {
  const queries = useQueryClient();
  const [known, setKnown] = useState<Known[]>([]);
  const starts = useMemo(() => startsOf(known), [known]);
  const count = starts[known.length] ?? 0;
  const more = known.length === 0 || known[known.length - 1]!.next !== null;
  const first = pageOf(starts, Math.min(seen.first, count - 1));
  const wanted = seen.last >= count - PAGE / 2 && more ? known.length : Math.min(pageOf(starts, seen.last), known.length - 1);
  const numbers = range(Math.max(0, first), Math.max(0, wanted));

  const found = useQueries({
    queries: numbers.map((number) => {
      const after = number === 0 ? undefined : (known[number - 1]?.next ?? undefined);
      return {
        ...page(conditions, after),
        enabled: number === 0 || after !== undefined,
        staleTime: number === 0 ? 0 : Infinity,
        gcTime: FORGET_MS,
        refetchInterval: ({ state }: { state: { error: unknown } }): number | false =>
          (number === 0 && live) || state.error instanceof CutError ? LIVE_MS : false,
      };
    }),
  });

  const told = numbers.map((number, place) => [number, found[place]!.data] as const);
  const signature = told.map(([number, data]) => `${number}:${data && nextOf(data)}:${data?.data.length}`).join();
  useEffect(() => {
    setKnown((before) => learn(before, told));
  }, [signature]);

  return {
    count,
    more,
    at(index) {
      const number = pageOf(starts, index);
      return found[numbers.indexOf(number)]?.data?.data[index - starts[number]!];
    },
    indexOf(id) {
      for (const [place, number] of numbers.entries()) {
        const within = found[place]!.data?.data.findIndex((header) => header.id === id) ?? -1;
        if (within >= 0 && number < starts.length) return starts[number]! + within;
      }
      return undefined;
    },
    async between(first, last) {
      const pages = range(pageOf(starts, first), pageOf(starts, last));
      const read = pages.map((number) => queries.fetchQuery({ ...page(conditions, known[number - 1]?.next ?? undefined), staleTime: Infinity }));
      const ids = (await Promise.all(read)).flatMap(({ data }) => data.map(({ id }) => id));
      const start = starts[pages[0]!]!;
      return ids.slice(first - start, last - start + 1);
    },
    error: found.find((each) => each.error)?.error,
    loading: found.some((each) => each.isFetching),
    retry: () => found.forEach((each) => each.error && void each.refetch()),
  };
}

function page(conditions: Conditions, after: string | undefined) {
  return queryOptions({ queryKey: ["trajectories", "list", conditions, after ?? null], queryFn: ({ signal }) => read(conditions, after, signal) });
}

async function read(conditions: Conditions, after: string | undefined, signal: AbortSignal): Promise<ListAnswer> {
  const query = { ...conditions, limit: PAGE, ...(after === undefined ? {} : { after }) };
  return ask(api.GET("/v1/trajectories", { params: { query }, signal })) as Promise<ListAnswer>;
}

function nextOf(page: ListAnswer): string | null {
  return page.has_more ? page.last_id : null;
}

/** What is known now; a page that ends elsewhere than before makes those behind it unknown. */
function learn(before: Known[], told: (readonly [number, ListAnswer | undefined])[]): Known[] {
  let after = before;
  for (const [number, data] of told) {
    if (!data || number > after.length) continue;
    const now = { size: data.data.length, next: nextOf(data) };
    const then = after[number];
    if (then?.size === now.size && then.next === now.next) continue;
    after = [...after.slice(0, number), now];
  }
  return after;
}

/** Index of each page's first row, and one past the last page's. */
function startsOf(known: Known[]): number[] {
  const starts = [0];
  for (const page of known) starts.push(starts.at(-1)! + page.size);
  return starts;
}

function pageOf(starts: number[], index: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= index) low = middle;
    else high = middle - 1;
  }
  return low;
}

function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, offset) => first + offset);
}
