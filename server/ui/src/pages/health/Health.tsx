/** How the server is: load, queue, cache, the log's losses, tools, and for administrators keys and their use. */
import { useQuery } from "@tanstack/react-query";
import { useKey } from "../../frame/session";
import { Facts } from "../../parts/Facts";
import { duration, number, percent, short } from "../../parts/format";
import { pending } from "../../parts/states";
import { health, metrics } from "./api";
import { Keys } from "./Keys";
import { Load } from "./Load";
import { mean, share, sum } from "./prometheus";
import { Tools } from "./Tools";
import "./health.css";

export default function Health() {
  const key = useKey();
  const state = useQuery(health);
  const query = useQuery(metrics);
  return (
    <div className="page">
      <h1>Health</h1>
      {pending(state, "the server’s state") ?? (
        <p className={`card ${state.data!.reason ? "complaint" : "fine"}`} role="status">
          {state.data!.reason ? `The server takes no work: ${state.data!.reason}.` : "Engine, compiler and log take work."}
        </p>
      )}
      {pending(query, "the load") ?? (
        <>
          <Now samples={query.data!.at(-1)!} />
          <Load history={query.data!} />
          <Tools samples={query.data!.at(-1)!} />
        </>
      )}
      {key.admin && <Keys />}
    </div>
  );
}

function Now({ samples: { values } }: { samples: Awaited<ReturnType<typeof metrics.queryFn>>[number] }) {
  const losses = sum(values, "agentlm_log_losses_total") ?? 0;
  const spell = (value: number | undefined, how: (value: number) => string) => (value === undefined ? undefined : how(value));
  return (
    <section className="card" aria-label="Now">
      <Facts
        facts={[
          ["Running", spell(sum(values, "agentlm_running"), number)],
          ["Waiting in the engine", spell(sum(values, "vllm:num_requests_waiting"), number)],
          ["KV cache in use", spell(sum(values, "vllm:kv_cache_usage_perc"), percent)],
          ["Prefix cache hits", spell(share(values, "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"), percent)],
          ["First token, mean", spell(mean(values, "agentlm_first_token_seconds"), duration)],
          ["Answer, mean", spell(mean(values, "agentlm_choice_seconds"), duration)],
          ["Tokens sampled", spell(sum(values, "agentlm_tokens_total", { kind: "sampled" }), short)],
          ["Log commits", spell(sum(values, "agentlm_log_commits"), number)],
          ["Log losses", losses === 0 ? <span className="fine">0</span> : <strong className="complaint">{number(losses)}: the log did not take them</strong>],
        ]}
      />
      <p className="muted small">Since this server was started.</p>
    </section>
  );
}
