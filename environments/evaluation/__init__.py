"""How anyone knows that a model got better: success with intervals, and general ability beside."""
