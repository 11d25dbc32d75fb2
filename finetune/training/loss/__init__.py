"""The losses: one module for each method of learning, over the log-probabilities of a pack.

`pack_loss` computes the log-probability of each trained token, independent of the method. An
`Objective` makes a number of it. A new method needs only a new objective.
"""
