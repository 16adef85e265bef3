"""Tuning on preference pairs: reward models (pointwise, pairwise), and policies directly (DPO, IPO, cDPO)."""
