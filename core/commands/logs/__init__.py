"""`agentlm logs`: the log on the command line."""
