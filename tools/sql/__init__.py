"""The sql family: three tools, one database, and a guard for each kind of database."""
