"""The experiment of docs/reproduction.md, done again by one command: `agentlm reproduce`.

A **plan** is a list of commands that a person could type; each is a step. It is done when it has
ended well and what it makes is there, whole; a mark in the experiment's directory says so. Killed
anywhere, the same command goes on: a step that was not done is run again, and every command of ours
goes on with what it left. Nothing is done here that the commands don't do: this only runs them in
order, says how long they will take, and writes a page of what they measured.
"""
