"""The knowledge_graph family: an embedded triple store, explored step by step or by SPARQL."""
