"""The OpenAI-compatible server: HTTP in front, the agent loop inside, vLLM behind."""
