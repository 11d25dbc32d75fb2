"""Playing tasks: a player and a world in turn, many at once, recorded and scored.

`play` is one try; `rollout` is many, resumable; a player is an expert, a random one, or a model
behind a URL. `cli` is `agentlm rollout`.
"""
