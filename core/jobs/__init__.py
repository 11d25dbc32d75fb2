"""Fine-tuning jobs, and the files they read and write: what server and trainer agree on.

They share nothing but directories, so a job survives the server that began it.
"""
