"""What carries out a training step: torch in one process or several, or DeepSpeed, behind one interface."""
