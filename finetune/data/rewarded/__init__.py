"""Rows that are learned from by their reward: groups of tries, pairs, single judgements.

Each module defines for one method which steps of a trajectory it looks at, and what a row's reward
means in comparison with others. `candidates` is what they have in common.
"""
