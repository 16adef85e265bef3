"""Memory of long runs: lengths that vary from step to step leave nothing behind."""

import os
import subprocess
import sys

import pytest

STEPS = 1000
SETTLED = 200  # steps after which the process has what it needs
BOUND_MIB = 64.0  # growth allowed from then on
RUN = """
import random, resource, sys
from components.launch.torch_setup import prepare_torch
prepare_torch(1)
import torch
from components.modeling.models import create_model
from components.modeling.tokenizers import train_tokenizer
from components.settings.training import ModelSettings, OptimiserSettings
from components.training.optimisation import create_optimiser, step_optimiser
from components.training.supervised.examples import Example
from components.training.supervised.loss import micro_batches, summed_loss

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

precision, steps, settled = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tokenizer = train_tokenizer(["a few words"], vocabulary=512)
shape = ModelSettings(vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=64, context=128)
model = create_model(shape, tokenizer=tokenizer, seed=1)
vocabulary = model.get_input_embeddings().num_embeddings
optimiser = create_optimiser(model, OptimiserSettings(learning_rate=1e-3))
draw = random.Random(1)
for step in range(steps):
    longest = draw.randint(4, 90)
    lengths = [draw.randint(3, longest) for _ in range(draw.randint(1, 12))]
    batch = [Example(tuple(draw.randrange(vocabulary) for _ in range(length)), (False,) + (True,) * (length - 1)) for length in lengths]
    for part in micro_batches(batch, micro_tokens=2048):
        summed_loss(model, part, precision=precision).div(100).backward()
    step_optimiser(optimiser, rate=1e-3, clip_norm=1.0)
    if step + 1 == settled:
        before = resident()
print(before, resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_thousand_steps_of_varying_lengths_do_not_grow_the_process(precision):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, precision, str(STEPS), str(SETTLED)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    before, after, peak = map(float, done.stdout.split())
    print(f"{precision}: resident {before:.0f} MiB after {SETTLED} steps, {after:.0f} after {STEPS}; peak {peak:.0f}")
    assert after - before < BOUND_MIB
