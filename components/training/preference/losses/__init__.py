"""Losses of a pair's log ratios, one file each."""
