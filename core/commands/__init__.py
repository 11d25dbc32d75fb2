"""The commands of `agentlm` that need neither server nor trainer, one module each.

`agentlm.cli` lists all commands and turns errors into exit codes. `subcommands` serves commands
that have commands of their own (`agentlm models list`).
"""
