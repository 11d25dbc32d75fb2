"""AgentLM: serve → act → record → filter → train → gate → promote → serve.

This package holds the shared words (`messages`, `trajectory`, `render`, `grammar`, `agent`,
`store`, `registry`); `server`, `finetune`, `tools`, `environments` and `clients` build on them.
"""

__version__ = "0.1.0"
