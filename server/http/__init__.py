"""HTTP independent of content: who may use the server, reading bodies, sending errors and
streams."""
