"""The losses: one module for each method of learning, over the log-probabilities of a pack.

`pack_loss` computes how likely the model finds each trained token, and nothing that depends on the
method; an `Objective` makes a number of it. To add a method is to add one.
"""
