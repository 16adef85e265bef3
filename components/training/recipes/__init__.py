"""Recipes: from a model folder, a JSON-lines file and, for GRPO, reward functions of one's own to a tuned model."""
