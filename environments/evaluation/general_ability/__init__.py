"""General ability, beside the tasks: an agent that forgot how to talk has not got better."""
