"""Training a successor from the record: select, filter, tokenise, train, register, publish."""
