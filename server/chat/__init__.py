"""Answers: from a request to the trajectory that it continues, a run of the loop, and its row.

`chat` reads a request and finds where it begins (`conversation`). Each `choice` runs the loop and
records the result. `raw_completion` does the same for text without a conversation.
"""
