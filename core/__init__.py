"""AgentLM: serve → act → record → filter → train → gate → promote → serve.

This package holds the shared words: messages and trajectory, the agent and what it needs (`prompt`,
`engine`), and where things are kept (`store`, `models`, `jobs`). `server`, `finetune`, `tools`,
`environments` and `clients` build on them.
"""

__version__ = "0.1.0"
