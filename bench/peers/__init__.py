"""Other projects' code that ours is measured against: pins of their environments, and scripts that run inside them.

A script is started as `<environment>/bin/python bench/peers/<script>.py job.json` by `bench/peer_process.py`. It imports
nothing of this project but `turns.py` beside it, which needs the standard library alone.
"""
