"""The search for task-group ratios, and what it found."""
