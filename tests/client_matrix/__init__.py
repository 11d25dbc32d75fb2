"""The field's client libraries, each in its own words, against one scripted server.

`make clients` (`python -m client_matrix` from `tests/`) installs them and prints who can do what:
`catalogue` says which there are, `clients/` has one file for each, with a function for each cell
of the table; `questions` is what they all ask and have to be answered, `checks` what has to be true
of what they got. `cells` plays one file inside the environment that the library is installed in,
which has neither this project nor pytest; `server` is what they talk to.
"""
