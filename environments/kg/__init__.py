"""The knowledge graph environment: questions of several hops over WordNet and GeoNames."""
