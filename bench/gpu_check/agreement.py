"""Agreement: of the packed forward with transformers, and of everything that trains and samples with the processor."""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.gpu_check.checks import Check, exact, limited
from bench.gpu_check.plan import Plan
from bench.training.ours import OPTIMISER, TimedRecorder, policy_steps
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.generation.weight_probes import sequence_logprobs
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import pack_trees
from components.modeling.reading import read_answers
from components.settings.training import OptimiserSettings, PolicySettings, SupervisedSettings
from components.training.engines.creation import create_engine
from components.training.policy.groups import Answer, LiveGroup
from components.training.policy.loop import reference_model
from components.training.policy.state import weights_digest
from components.training.policy.update import update_policy
from components.training.supervised.examples import Example
from components.training.supervised.loop import SupervisedRun
from components.training.supervised.loss import summed_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from components.modeling.precision import Precision

PRECISIONS = ("float32", "bfloat16")
LEARNING = OptimiserSettings(learning_rate=1e-4, warmup_steps=0, schedule="constant", weight_decay=0.0)


def random_ids(lengths: Sequence[int], *, vocabulary: int, seed: int = 0) -> list[list[int]]:
    """Return sequences of random ids, always the same."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(8, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def check_agreement(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, device: torch.device) -> list[Check]:
    """Check everything on one model, which lies on the processor."""
    there = copy.deepcopy(model).to(device)
    sequences = random_ids(plan.lengths, vocabulary=len(tokenizer))
    checks = [check for precision in PRECISIONS for check in against_transformers(there, sequences, precision=precision)]  # type: ignore[arg-type]
    checks += gradients_against_processor(model, there, sequences)
    for precision in PRECISIONS:
        checks += steps_against_processor(model, device, sequences, plan, precision=precision)  # type: ignore[arg-type]
        checks += sampler_against_processor(model, there, tokenizer, plan, precision=precision)  # type: ignore[arg-type]
        checks += loops_repeat(model, tokenizer, plan, device, precision=precision)  # type: ignore[arg-type]
    return checks


@torch.no_grad()
def against_transformers(model: "PreTrainedModel", sequences: Sequence[Sequence[int]], *, precision: "Precision") -> list[Check]:
    """Compare log-probabilities of all tokens but the first of each sequence, packed as one tree with the first as prompt."""
    prompt, *answers = sequences
    rows = [torch.tensor([[*prompt, *answer]], device=model.device) for answer in answers]
    model.set_attn_implementation("eager")
    theirs = torch.cat([model(row, use_cache=False).logits[0, len(prompt) - 1 : -1].log_softmax(-1).gather(1, row[0, len(prompt) :, None])[:, 0] for row in rows])
    packed, targets = read_answers(pack_trees([prompt], [answers]), answers_per_prompt=[len(answers)])
    ours, _ = token_logprobs(model, packed, targets, precision=precision)
    gaps = (ours - theirs).abs()
    return [limited(f"log-probabilities against transformers, {precision}", float(gaps.max() if precision == "float32" else gaps.mean()), by=f"logprobs {precision}")]


def gradients_against_processor(model: "PreTrainedModel", there: "PreTrainedModel", sequences: Sequence[Sequence[int]]) -> list[Check]:
    """Compare loss and gradients of the packed supervised loss, float32, and recomputed layers with kept ones, in both precisions."""
    examples = _examples(sequences)

    def passed(side: "PreTrainedModel", *, precision: "Precision", recompute: bool = False) -> tuple[float, list[torch.Tensor]]:
        side.zero_grad(set_to_none=True)
        loss = summed_loss(side, examples, precision=precision, recompute=recompute)
        loss.backward()
        return float(loss.detach()), [parameter.grad.cpu() for parameter in side.parameters() if parameter.grad is not None]

    (loss, gradients), (their_loss, their_gradients) = (passed(side, precision="float32") for side in (model, there))
    repeats = {precision: [passed(there, precision=precision, recompute=recompute)[1] for recompute in (False, True)] for precision in PRECISIONS}  # type: ignore[arg-type]
    worst = max(float((mine - other).abs().max() / mine.abs().max().clamp(min=1e-12)) for mine, other in zip(gradients, their_gradients, strict=True))
    for side in (model, there):
        side.zero_grad(set_to_none=True)
    return [
        limited("packed loss against the processor, float32", abs(loss - their_loss) / abs(loss), by="losses float32"),
        limited("packed gradients against the processor, float32", worst, by="gradients float32"),
        *(
            exact(f"recomputed layers give the same gradients, {precision}", all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True)))
            for precision, (kept, recomputed) in repeats.items()
        ),
    ]


def steps_against_processor(
    model: "PreTrainedModel", device: torch.device, sequences: Sequence[Sequence[int]], plan: Plan, *, precision: "Precision"
) -> list[Check]:
    """Compare a few supervised and a few GRPO steps, from the same weights on the same tokens."""
    checks = []
    for name, run in (("supervised steps' losses", _supervised_losses), ("GRPO steps' gradient norms", _policy_norms)):
        mine, theirs = (run(copy.deepcopy(model).to(place), sequences, plan, precision=precision) for place in (torch.device("cpu"), device))
        worst = max(abs(a - b) / abs(a) for a, b in zip(mine, theirs, strict=True))
        checks.append(limited(f"{name} against the processor, {precision}", worst, by=f"losses {precision}"))
    return checks


def sampler_against_processor(
    model: "PreTrainedModel", there: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, *, precision: "Precision"
) -> list[Check]:
    """Compare what the sampler says of the tokens it drew with the processor's float32 scores of them."""
    checks = []
    for is_recorded in (False, True):
        sampler = NativeSampler(there, tokenizer, precision=precision, is_recorded=is_recorded)
        name = "the sampler with recorded steps" if is_recorded else "the sampler"
        checks.append(_gap_of_drawn(sampler, model, tokenizer, plan, name=name, precision=precision))
    return checks


def _gap_of_drawn(
    sampler: NativeSampler, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, *, name: str, precision: "Precision"
) -> Check:
    prompts = random_ids([plan.prompt_tokens + number for number in range(plan.prompts)], vocabulary=len(tokenizer), seed=1)
    groups = sampler.generate(prompts, SamplingOptions(max_new_tokens=plan.agreement_tokens, samples=plan.samples, seed=1))
    gaps = []
    for prompt, group in zip(prompts, groups, strict=True):
        scores = sequence_logprobs(model, [[*prompt, *answer.ids] for answer in group])
        gaps += [abs(a - b) for answer, row in zip(group, scores, strict=True) for a, b in zip(answer.logprobs, row[len(prompt) - 1 :], strict=True)]
    value = max(gaps) if precision == "float32" else sum(gaps) / len(gaps)
    return limited(f"{name}: log-probabilities against the processor's, {precision}", value, by=f"sampler {precision}")


def loops_repeat(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, device: torch.device, *, precision: "Precision"
) -> list[Check]:
    """Run the policy loop twice: it starts at its reference, sampler and trainer agree, and both runs end with equal bits."""
    prompts = random_ids([plan.prompt_tokens] * plan.prompts, vocabulary=len(tokenizer), seed=2)
    digests, records = [], []
    for _ in range(2):
        there = copy.deepcopy(model).to(device)
        recorder = policy_steps(
            there, tokenizer, prompts, samples=plan.samples, max_new_tokens=plan.agreement_tokens, steps=plan.steps, kl_weight=0.01,
            precision=precision, optimiser=LEARNING, micro_tokens=plan.micro_tokens,
        )  # fmt: skip
        digests.append(weights_digest(there))
        records = [values for _, values in recorder.steps]
    return [
        exact(f"the policy starts at its reference, {precision}", records[0]["kl"] == 0.0 and records[0]["ratio_error"] == 0.0),
        limited(f"sampler and trainer agree, {precision}", max(values["sampler_gap"] for values in records), by="sampler float32" if precision == "float32" else "sampler gap bfloat16"),
        exact(f"a GRPO run repeated ends with equal bits, {precision}", digests[0] == digests[1]),
    ]


def _examples(sequences: Sequence[Sequence[int]]) -> list[Example]:
    return [Example(tuple(ids), (False,) + (True,) * (len(ids) - 1)) for ids in sequences]


def _supervised_losses(model: "PreTrainedModel", sequences: Sequence[Sequence[int]], plan: Plan, *, precision: "Precision") -> list[float]:
    examples = _examples(sequences)
    with tempfile.TemporaryDirectory() as folder:
        recorder = TimedRecorder(Path(folder))
        settings = SupervisedSettings(optimiser=LEARNING, steps=plan.steps, precision=precision)
        SupervisedRun(model, examples, [list(range(len(examples)))] * plan.steps, settings=settings, recorder=recorder).run()
    return [values["loss"] for _, values in recorder.steps]


def _policy_norms(model: "PreTrainedModel", sequences: Sequence[Sequence[int]], plan: Plan, *, precision: "Precision") -> list[float]:
    """Return the gradient norm of each step on fixed answers with fixed advantages (the loss itself is near 0 by construction)."""
    prompt, *answers = sequences
    rows = tuple(Answer(tuple(ids[cut:]), (-5.0,) * (len(ids) - cut), "stop", "", {"score": 1.0}) for cut in (0, 3) for ids in answers)
    group = LiveGroup(tuple(prompt), rows, tuple(1.0 - 2.0 * (number % 2) for number in range(len(rows))))
    settings = PolicySettings(optimiser=LEARNING, steps=plan.steps, kl_weight=0.01, precision=precision, loss="dapo", micro_tokens=plan.micro_tokens)
    engine, reference = create_engine(model, OPTIMISER, precision=precision), reference_model(model)
    return [update_policy(engine, reference, [group], settings=settings, learning_rate=LEARNING.learning_rate).gradient_norm for _ in range(plan.steps)]
