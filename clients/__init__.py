"""Clients of AgentLM for other libraries."""
