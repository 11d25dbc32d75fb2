"""The agent: a ReAct loop that extends a transcript until an answer comes or a limit is reached.

Each turn is written by a **policy** (`engine_policy` works in token ids, `upstream_policy` in
messages). The **tool** that the turn calls then runs, and the observation is appended to the
**transcript**. `loop.run_agent` does that and nothing else. `policy` and `tool` hold the contracts
of its parties; `ask` holds what a request asks of every turn.
"""

from agentlm.agent.tool import Tool, ToolContext, ToolError

__all__ = ["Tool", "ToolContext", "ToolError"]
