"""The Responses wire: the same answers as chat completions, spelt in items.

`request` reads what may be asked and says it in chat's words, `items` reads and writes the items of
a conversation, `output` spells a recorded interaction as a response, `events` does so while it is
generated, and `previous` finds the answer that a request goes on from. Below stands what chat
stands on: nothing there knows which of the two asked.
"""
