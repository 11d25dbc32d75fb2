import { Badge } from "../../parts/controls";

const TONES = { succeeded: "good", failed: "bad", running: "accent", paused: "warn" } as const;

/** A job's status in words. */
export function Status({ status }: { status: string }) {
  return <Badge tone={TONES[status as keyof typeof TONES] ?? "neutral"}>{status.replaceAll("_", " ")}</Badge>;
}
