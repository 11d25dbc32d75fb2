"""MySQL's ways on SQLite: statements written for MySQL mean the same, or are refused as it refuses.

A statement is parsed as MySQL and written as SQLite (`translate`). Each function of MySQL's is one
of ours under its name with `my_` before it (`functions`, which has those of `texts`, `patterns`,
`numbers`, `dates` and `aggregates`), so SQLite's own functions of the same name are out of reach;
comparisons go by MySQL's rules for text and numbers (`values`). `SHOW` and `DESCRIBE` are answered
from the schema (`schema`). What can't be parsed is a syntax error here too: nothing reaches SQLite
unparsed.
"""
