import { Badge } from "../../parts/controls";

const TONES: Record<string, "good" | "bad" | "warn" | "accent" | "neutral"> = {
  completed: "good",
  running: "accent",
  requires_action: "accent",
  limit: "warn",
  invalid: "bad",
  error: "bad",
};

export function Outcome({ outcome }: { outcome: string }) {
  return <Badge tone={TONES[outcome] ?? "neutral"}>{outcome.replace("_", " ")}</Badge>;
}
