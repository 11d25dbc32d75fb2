"""Clicking and typing in Chromium on MiniWoB++'s pages, where AgentTuning has Mind2Web.

Kinds of page that are trained on and kinds that never are stand apart in `experts.py`.
"""
