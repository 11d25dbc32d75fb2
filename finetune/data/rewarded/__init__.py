"""Rows that are learned from by their reward: groups of tries, pairs, single judgements.

Each module says of one method which steps of a trajectory it looks at, and what every row's reward
means beside the others. `candidates` is what they have in common.
"""
