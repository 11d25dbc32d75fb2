/** Calls of other runs that wait for somebody, for keys that may decide on them. */
import { useQuery } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import { useKey } from "../../frame/session";
import { moment } from "../../parts/format";
import { readable, Text } from "../../parts/text";
import { Decide } from "./Chat";
import { useTurns } from "./conversation";

export function Approvals() {
  const key = useKey();
  const turns = useTurns();
  const own = new Set(turns.flatMap((turn) => (turn.role === "assistant" ? [turn.trajectory] : [])));
  const waiting = useQuery({
    queryKey: ["approvals"],
    queryFn: () => ask(api.GET("/v1/approvals")),
    refetchInterval: 3_000,
    enabled: key.may_decide,
  });
  const others = (waiting.data?.data ?? []).filter((item) => !own.has(item.trajectory_id));
  if (others.length === 0) return null;
  return (
    <section className="card approvals" aria-label="Calls that wait for you">
      <h2>{others.length === 1 ? "A call waits" : `${others.length} calls wait`}</h2>
      <ul>
        {others.map((item) => (
          <li key={item.id} className="column">
            <span>
              <strong>{item.owner}</strong> · <code>{item.call.name}</code> · until {moment(item.expires)} ·{" "}
              <a href={`#/trajectories?${new URLSearchParams({ open: item.trajectory_id })}`}>the trajectory</a>
            </span>
            <Text text={readable(item.call.arguments)} />
            <Decide id={item.id} decision={undefined} />
          </li>
        ))}
      </ul>
    </section>
  );
}
