"""Worlds and questions that others made and that nothing here is trained on.

Each module adapts one package behind `World` in a screen: `world_of` gives the class, or says what
is missing. There is no training split: what is measured with them was never taught.
"""
