/** What the list shows, kept in the address: the API's own conditions, a search, and what is open. */
import { useSearchParams } from "react-router";

/** Parameters that are the page's own; every other one goes to the API as it is. */
const OWN = ["open", "beside", "view"] as const;
type Own = (typeof OWN)[number];

export type Conditions = Record<string, string>;

export interface Address {
  conditions: Conditions;
  open: string | null;
  beside: string | null;
  view: string;
  /** The same address with other values; null leaves one out. */
  change: (values: Partial<Record<Own, string | null>>) => void;
  filter: (conditions: Conditions) => void;
}

export function useAddress(): Address {
  const [params, setParams] = useSearchParams();
  const conditions: Conditions = {};
  for (const [name, value] of params) {
    if (!OWN.includes(name as Own) && value !== "") conditions[name] = value;
  }
  return {
    conditions,
    open: params.get("open"),
    beside: params.get("beside"),
    view: params.get("view") ?? "timeline",
    change(values) {
      setParams((before) => {
        const after = new URLSearchParams(before);
        for (const [name, value] of Object.entries(values)) value == null ? after.delete(name) : after.set(name, value);
        return after;
      });
    },
    filter(wanted) {
      setParams((before) => {
        const after = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== ""));
        for (const name of OWN) if (before.has(name)) after.set(name, before.get(name)!);
        return after;
      });
    },
  };
}
