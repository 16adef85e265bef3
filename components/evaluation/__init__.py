"""Scoring of models on the held-out cases, with intervals, claims and a report."""
