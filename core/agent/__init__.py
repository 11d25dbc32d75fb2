"""The agent: a ReAct loop that extends a transcript until an answer comes or a limit is reached.

In each turn a **policy** writes (`engine_policy` by token ids, `upstream_policy` by messages), the
**tool** that it calls runs, and the observation is appended to the **transcript**.
`loop.run_agent` is that and nothing else; the contracts of its parties are `policy` and `tool`,
what a request asks of every turn is `ask`.
"""

from agentlm.agent.tool import Tool, ToolContext, ToolError

__all__ = ["Tool", "ToolContext", "ToolError"]
