"""How to know that a model got better: success with intervals, and general ability beside it."""
