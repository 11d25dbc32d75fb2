"""The sandboxed shell: what contains it, what bounds it, what keeps it alive."""
