"""Worlds that others wrote, behind our contract: a class in a file, an entry point, a library's.

`world.py` is what an author subclasses, `loading.py` finds it; each other module adapts one library
in a screen, and says what it can't do.
"""
