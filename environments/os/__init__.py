"""The operating system environment: questions about files and changes to them, in a sandbox."""
