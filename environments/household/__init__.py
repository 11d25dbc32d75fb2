"""The household environment: ALFWorld's actions, rules and words, in a simulator of our own."""
