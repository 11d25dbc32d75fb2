"""Repeat the experiment of docs/reproduction.md by one command: `agentlm reproduce`.

A **plan** is a list of commands that a person could type; each is a step. A step is done when its
command has ended well and its outputs exist and are complete; a mark in the experiment's directory
records that. If the program is killed anywhere, the same command continues: a step that was not
done is run again, and each of our commands continues from what it left. This package does nothing
that the commands don't do: it runs them in order, says how long they will take, and writes a page
of what they measured.
"""
