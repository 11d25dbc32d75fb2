"""From trajectories and files to token rows.

`sources` finds where rows come from, `selection` reads the log, `pipeline` filters, `rows` turns
trajectories into token ids with loss marks (a `dataset` on disk), and `mixture` draws from several
sources. `prepare` does all of it for a run, once.
"""
