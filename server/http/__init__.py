"""HTTP, whatever it is about: who may ask, how bodies come in, how errors and streams go out."""
