"""The trainer: packs of rows that share prefixes, loss on the model's own tokens, DeepSpeed's step.

`train` is the loop over steps, `model` the trained model, `zero` DeepSpeed's part, `measure` the
held-out loss, `save` writes the result.
"""
