"""Worlds written by others, behind our contract: a class in a file, an entry point, a library's.

Authors subclass `world.py`, and `loading.py` finds the class. Each other module adapts one library
on one screen, and states what it can't do.
"""
