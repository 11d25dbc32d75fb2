"""Conversations: where a request's run begins, in ids if the model is ours.

Clients send text and drop what they don't know, so each answer is indexed by a key of the
conversation that led to it (`keys`). `beginning` finds the longest recorded prefix of a request's
messages and renders only what is new; `long_text` keeps that off the event loop.
"""
