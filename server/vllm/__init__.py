"""vLLM behind the engine protocol. `engine` and `request` are all that imports it."""
