"""vLLM behind the engine protocol. Only `engine` and `request` import it."""
