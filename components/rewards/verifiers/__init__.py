"""Rule verifiers, one file each; `registry.py` names them."""
