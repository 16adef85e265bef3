"""Tuning on preference pairs: Bradley–Terry reward models."""
