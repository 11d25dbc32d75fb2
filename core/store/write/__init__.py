"""What changes the log: one writer thread, and everything that runs inside its transactions."""
