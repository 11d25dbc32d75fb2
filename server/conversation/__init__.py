"""Conversations: where a request's run begins, in ids if the model is ours.

Clients send text and drop fields that they don't know, so each answer is indexed by a key of the
conversation before it (`keys`). `beginning` finds the longest recorded prefix of a request's
messages and renders only what is new. `long_text` keeps this work off the event loop.
"""
