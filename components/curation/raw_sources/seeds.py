"""Random generators that depend on the seed and a name only, so that no document depends on those written before it."""

import random

from components.lineage import digest_value


def named_generator(seed: int, *names: str) -> random.Random:
    """Return the generator of one named thing; equal for equal arguments on every machine."""
    return random.Random(int(digest_value([seed, *names])[:16], 16))
