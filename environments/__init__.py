"""Tasks with a score, played against any OpenAI-compatible URL.

A `Task` is frozen data; an `Environment` opens it, runs the player's calls and scores its answer
(`task.py`). A `Player` says what to do next: a model behind a URL, the task's own expert, nobody or
chance (`players.py`). `play.py` lets one play the other, `rollout.py` does so for thousands of
tasks and keeps what is done, `recording.py` leaves the scored trajectories in the log.
"""
