"""The wheel that turns by itself: play, train, gate, promote, again (`agentlm wheel`).

A **turn** is a few commands that a person could type: the model that has the alias plays tasks, a
successor is trained on the tries, the gate measures both on tasks that no turn before had, and what
passes gets the alias. The commands so far are a plan, which grows by a turn at a time; it is run as
the plans of `agentlm reproduce` are. What comes next follows from what is done, and from nothing
else: so killed anywhere, the same command goes on.
"""
