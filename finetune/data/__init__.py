"""From trajectories and files to token rows.

`sources` name where rows come from, `selection` asks the log, `pipeline` filters what came, `rows`
turns it into token ids with loss marks (a `dataset` on the disk), and `mixture` draws from several.
`prepare` does all of it for a run, once.
"""
