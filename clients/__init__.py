"""Ways into AgentLM from other libraries."""
