"""Intervals and tests of means whose items come in clusters (numpy only)."""
