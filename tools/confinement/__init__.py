"""What holds strangers' work and addresses within bounds.

Processes that do one thing for the server and can be killed when they do not come back: `worker` is
the server's side, `inside` the process's own: it gives up what it does not need, system calls
(`seccomp`) included, before it reads anything from strangers. `network` opens connections to public
addresses only.
"""
