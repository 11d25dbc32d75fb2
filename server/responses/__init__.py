"""The Responses wire: the same answers as in chat completions, written as items.

`request` reads a request and converts it to chat's terms, `items` reads and writes the items of a
conversation, `output` writes a recorded interaction as a response, `events` does so while it is
generated, and `previous` finds the answer that a request goes on from. Everything below is shared
with chat and doesn't know which of the two wires is used.
"""
