"""What carries out a training step: torch, in one process or several, behind one interface."""
