"""OpenAI's format: what a request may contain, and what an answer looks like.

Nothing here knows how an answer is produced.
"""
