"""OpenAI's words: what a request may say, and what an answer looks like.

Nothing here knows how an answer comes about.
"""
