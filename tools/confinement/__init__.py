"""Limits for the work and the addresses of strangers.

Some work runs in processes that do one thing for the server and can be killed if they don't return.
`worker` is the server's side; `inside` is the process's own side, which gives up everything that it
does not need, including system calls (`seccomp`), before it reads anything from strangers.
`network` opens connections to public addresses only.
"""
