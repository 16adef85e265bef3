"""Supervised tuning: chat samples and plain text, one loop."""
