"""Prometheus metrics: the server's own counters, besides the engine's, which are unchanged."""

from __future__ import annotations

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from agentlm.agent.loop import CallEnded
from agentlm.agent.transcript import Transcript
from agentlm.store import Store

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server. Each server has its own registry."""

    def __init__(self, store: Store) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "agentlm_requests", "HTTP requests answered.", ["method", "status"], registry=registry
        )
        self.running = Gauge("agentlm_running", "Choices that run now.", registry=registry)
        self._choices = Counter(
            "agentlm_choices", "Choices, by how they ended.", ["outcome"], registry=registry
        )
        self._tokens = Counter(
            "agentlm_tokens",
            "Tokens of choices: prompt, of which cached; sampled, of which reasoning.",
            ["kind"],
            registry=registry,
        )
        self._calls = Counter(
            "agentlm_tool_calls", "Calls of server tools.", ["tool", "failed"], registry=registry
        )
        self._call_seconds = Histogram(
            "agentlm_tool_seconds",
            "Time of a tool call.",
            ["tool"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "agentlm_first_token_seconds",
            "From a streamed request to its first text.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.choice_seconds = Histogram(
            "agentlm_choice_seconds",
            "From a request to its committed answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.losses = Counter(
            "agentlm_log_losses",
            "Interrupted choices that the log did not take.",
            registry=registry,
        )
        commits = Gauge("agentlm_log_commits", "Transactions of the log.", registry=registry)
        commits.set_function(lambda: store.commits)

    def call(self, event: CallEnded) -> None:
        """Count a finished call of a server tool."""
        observation = event.observation
        self._calls.labels(event.call.name, str(observation.failed).lower()).inc()
        self._call_seconds.labels(event.call.name).observe(observation.seconds)

    def choice(self, transcript: Transcript, seconds: float) -> None:
        """Count a finished choice."""
        self._choices.labels(transcript.outcome.value).inc()
        self.choice_seconds.observe(seconds)
        usage = transcript.usage()
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("sampled").inc(usage.completion_tokens)
        self._tokens.labels("reasoning").inc(usage.reasoning_tokens)

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format, the server's before the engine's."""
        return generate_latest(self._registry) + generate_latest(REGISTRY)
