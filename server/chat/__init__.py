"""Answering: from a request to the trajectory that it continues, a run of the loop, and its row.

`chat` reads a request and finds where it begins (`conversation`); each `choice` runs the loop and
records what came of it. `raw_completion` does the same for text without a conversation.
"""
