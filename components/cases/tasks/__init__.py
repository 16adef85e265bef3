"""Tasks, a file for each family; `registry.py` lists them."""
