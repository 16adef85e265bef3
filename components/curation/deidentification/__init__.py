"""Finding and replacing what identifies a person: patterns, dictionaries, context, surrogates."""
