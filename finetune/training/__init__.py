"""The trainer: packs of rows that share prefixes, loss on what the model said, DeepSpeed's step.

`train` is the loop over steps, `model` what it steps, `zero` how DeepSpeed does it, `measure` what
is measured beside it, `save` how the result gets to the disk.
"""
