"""What a model costs to train, on paper: parameters, memory, operations, time. Imports no torch."""
