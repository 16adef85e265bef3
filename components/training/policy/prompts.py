"""From cases to policy prompts: the chat template applied once, ids kept from then on; and how many a run can pass over."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from components.cases.case import Case
from components.errors import DataError
from components.lineage import stable_fraction
from components.modeling.tokenizers import encode_prompts
from components.settings.training import PolicySettings
from components.training.policy.groups import PolicyPrompt


def policy_prompts(tokenizer: PreTrainedTokenizerFast, cases: Sequence[Case]) -> list[PolicyPrompt]:
    """Return one prompt a case, in order.

    Raises:
        DataError: no cases, or two with one id.
    """
    if not cases:
        raise DataError("no prompts to train on; loosen prompts.minimum_pass_rate and maximum_pass_rate, or raise prompts.pool")
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise DataError(f"two prompts have the id {case.id}; run the stage prompts again")
        seen.add(case.id)
    encoded = encode_prompts(tokenizer, [case.messages for case in cases])
    return [PolicyPrompt(case.id, case.task, tuple(ids), case) for case, ids in zip(cases, encoded, strict=True)]


def prompts_for_epochs(prompts: Sequence[PolicyPrompt], settings: PolicySettings, *, seed: int) -> list[PolicyPrompt]:
    """Return the prompts that the steps can pass over `settings.epochs` times: all, or a choice fixed by the seed."""
    limit = max(settings.prompts_per_step, settings.steps * settings.prompts_per_step // settings.epochs)
    if len(prompts) <= limit:
        return list(prompts)
    kept = sorted(prompts, key=lambda prompt: stable_fraction(str(seed), "epochs", prompt.id))[:limit]
    return sorted(kept, key=lambda prompt: prompt.id)
