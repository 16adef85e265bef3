"""A sampler whose answers survive a kill: drawn a share of the prompts at a time, each share kept as a checkpoint.

Shares are cut in the order `NativeSampler` takes its sub-batches and hold whole ones, so the answers are the very bytes
it would draw without them.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from components.generation.native_sampler import ROWS
from components.generation.sampler import Completion, Progress, Sampler, SamplingOptions
from components.lineage import digest_value
from components.storage.checkpoints import CheckpointFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUB_BATCHES = 8  # kept together: some seconds of work


class KeptSampler:
    """A `Sampler` over another one; what was drawn before an interruption is read from the checkpoints."""

    def __init__(self, sampler: Sampler, checkpoints: CheckpointFolder, *, sub_batches: int = SUB_BATCHES) -> None:
        self.sampler = sampler
        self.checkpoints = checkpoints
        self.sub_batches = sub_batches
        self.weights_version = 0

    def sync(self, model: "PreTrainedModel", *, version: int) -> None:
        """Hand the weights on; answers of one version are never given for those of another."""
        self.sampler.sync(model, version=version)
        self.weights_version = version

    def rest(self) -> None:
        """Let the sampler below rest."""
        self.sampler.rest()

    def generate(
        self, prompts: Sequence[Sequence[int]], options: SamplingOptions, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Return `options.samples` completions of every prompt, in the prompts' order.

        Raises:
            StorageError: what was kept is damaged.
        """
        order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
        share = max(1, ROWS // options.samples) * self.sub_batches
        completions: list[list[Completion]] = [[] for _ in prompts]
        for start in range(0, len(order), share):
            chosen = order[start : start + share]

            def report(done: int, _: int, before: int = start) -> None:
                if progress:
                    progress(before + done, len(order))

            drawn = self._drawn([prompts[index] for index in chosen], options, report)
            for index, group in zip(chosen, drawn, strict=True):
                completions[index] = group
            report(len(chosen), len(chosen))
        return completions

    def _drawn(self, prompts: list[Sequence[int]], options: SamplingOptions, progress: Progress) -> list[list[Completion]]:
        asked = [[list(prompt) for prompt in prompts], asdict(options), *([self.weights_version] if self.weights_version else [])]
        part = self.checkpoints.child(f"samples-{digest_value(asked)[:24]}")
        checkpoint, _ = part.latest()
        if checkpoint is not None:
            return [[_completion(values) for values in group] for group in checkpoint.state["completions"]]
        drawn = self.sampler.generate(prompts, options, progress=progress)
        part.save(0, tensors={}, state={"completions": [[asdict(completion) for completion in group] for group in drawn]})
        return drawn


def _completion(values: dict[str, object]) -> Completion:
    return Completion(**{**values, "ids": tuple(values["ids"]), "logprobs": tuple(values["logprobs"])})  # type: ignore[arg-type]
