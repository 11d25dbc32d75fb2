"""The HTTP routes, one file for each thing they are about. Thin: what they do is elsewhere."""

from agentlm.server.routes import (
    adapters,
    approvals,
    audit,
    chat,
    completions,
    files,
    fine_tuning,
    health,
    metrics,
    models,
    responses,
    stored,
    tokens,
    trajectories,
    workspace,
)

ROUTERS = (
    chat.router,
    stored.router,
    responses.router,
    completions.router,
    models.router,
    adapters.router,
    files.router,
    fine_tuning.router,
    trajectories.router,
    workspace.router,
    tokens.router,
    approvals.router,
    audit.router,
    metrics.router,
    health.router,
)
"""All of them, in the order in which they are documented."""
