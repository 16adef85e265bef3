"""Share of this machine's matrix-product peak that training reaches.

    FLOPs of a step = 6 · (matrix parameters of the layers · tokens − finishing · tokens that are no predictors
                           + head · target tokens) + attention
    attention       = 3 · layers · Σ over sequences of 2 · heads · head size · length²     (causal: half of the square)

The embedding costs no product, and logits are made for target tokens alone, so they are counted so, as are the last layer's
queries and what follows its attention (`finishing`); recomputed logits are not counted: three forwards of components/sizing/floors.py. The
time is that of the supervised loop, optimiser included, on the bench's conversations at the largest size.
The peak is the best rate over large products in the same run and with the same threads, float32 or bfloat16, whichever is
higher; beside it stands the share of the best rate of the type it is multiplied in (components/modeling/precision.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.training.ours import sft_turn
from bench.training.plan import PRECISIONS, SIZES
from bench.training.works import Place
from components.modeling.precision import products_in
from components.settings.training import ModelSettings
from components.sizing import machine
from components.sizing.floors import TRAINED, Tree, forward_flops
from components.sizing.shape import DecoderShape
from components.training.supervised.examples import Example, chat_examples

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 4096), (4096, 4096, 1024), (8192, 512, 2048))


@dataclass(frozen=True)
class PeakShare:
    """One number type: training's rate and the best products' rates, in GFLOP/s."""

    precision: str
    training: float
    own_peak: float
    best_peak: float


def product_rate(dtype: torch.dtype, *, seconds: float, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> float:
    """Return the best GFLOP/s of m × k times k × n products; each shape is repeated for `seconds`, its fastest counts."""
    name = str(dtype).removeprefix("torch.")
    return 1e-9 * max(machine.product_rate(name, "cpu", seconds=seconds, product=shape) for shape in shapes)


def step_flops(shape: ModelSettings, examples: Sequence[Example], *, vocabulary: int) -> float:
    """Return the FLOPs of one forward and backward pass over the examples."""
    decoder = DecoderShape(
        layers=shape.layers, hidden=shape.hidden, heads=shape.heads, key_value_heads=shape.key_value_heads, head_size=shape.head_dimension,
        intermediate=shape.intermediate, vocabulary=vocabulary,
    )  # fmt: skip
    trees = [Tree(len(example.ids) - 1) for example in examples]  # the last token predicts nothing
    return TRAINED * forward_flops(decoder, trees, headed=sum(example.targets for example in examples))


def peak_shares(place: Place) -> list[PeakShare]:
    """Measure products and training at the place's size, in both number types."""
    plan, shape = place.plan, SIZES[place.size]
    samples = place.writer().samples(plan.sft_batch * plan.sft_steps)
    examples = [example for example in chat_examples(place.tokenizer, samples, context=shape.context) if example]
    flops = step_flops(shape, examples, vocabulary=len(place.tokenizer))
    peaks = {name: product_rate(getattr(torch, name), seconds=plan.peak_seconds) for name in PRECISIONS}
    shares = []
    for name in PRECISIONS:
        model = place.load("plain")
        seconds = sorted(sft_turn(model, examples, batch=plan.sft_batch, precision=name)["seconds"] for _ in range(plan.pairs))  # type: ignore[arg-type]
        own = str(products_in(name).multiplied).removeprefix("torch.")  # type: ignore[arg-type]
        shares.append(PeakShare(name, 1e-9 * flops / seconds[len(seconds) // 2], peaks[own], max(peaks.values())))
    return shares
