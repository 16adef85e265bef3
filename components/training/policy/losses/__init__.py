"""Policy losses, one small file each, behind one dictionary (`registry.py`)."""
