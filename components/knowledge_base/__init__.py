"""The project's own medical knowledge: schema, loading, subsets, triples."""
