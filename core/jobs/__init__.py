"""Fine-tuning jobs, and the files they read and write: the contract of server and trainer.

The two share only directories, so a job survives the server that began it.
"""
