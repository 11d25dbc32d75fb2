"""Tasks with a score, played against any OpenAI-compatible URL.

A `Task` is frozen data. An `Environment` opens it, runs the player's calls and scores its answer
(`task.py`). A `Player` decides what to do next: a model behind a URL, the task's own expert, a
player that does nothing, or a random one (`players.py`). `play.py` lets one play the other,
`rollout.py` does so for thousands of tasks and keeps the results, `recording.py` writes the scored
trajectories to the log.
"""
