"""The raw sources of a project, written from the knowledge base: documents, records, queries, and what is wrong with them."""
