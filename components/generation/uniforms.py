"""The uniform numbers answers are drawn by: a counter-based generator, so that no answer depends on its neighbours.

Row key = digest of (seed, prompt ids, which of equal prompts this is, sample index); number t of a row is
splitmix64(key + t * golden ratio) (Steele et al. 2014, doi:10.1145/2660193.2660195). A batch of 8 draws what 8 batches
of 1 draw.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def row_keys(prompts: Sequence[Sequence[int]], *, samples: int, seed: int) -> np.ndarray:
    """Return one key a row, (prompts, samples), uint64."""
    seen: Counter[bytes] = Counter()
    keys = np.empty((len(prompts), samples), dtype=np.uint64)
    for index, prompt in enumerate(prompts):
        content = np.asarray(prompt, dtype=np.int64).tobytes()
        stem = hashlib.blake2b(f"{seed}/{seen[content]}/".encode() + content, digest_size=8).digest()
        seen[content] += 1
        keys[index] = _mix(np.frombuffer(stem, dtype=np.uint64) + np.arange(1, samples + 1, dtype=np.uint64) * GOLDEN)
    return keys


def uniforms(keys: np.ndarray, *, count: int) -> np.ndarray:
    """Return `count` numbers in [0, 1) for each key, (keys, count), float32."""
    with np.errstate(over="ignore"):
        counters = keys.reshape(-1, 1) + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        return ((_mix(counters) >> np.uint64(40)).astype(np.float32)) * np.float32(2.0**-24)


def _mix(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
