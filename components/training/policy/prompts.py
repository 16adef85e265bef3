"""From cases to policy prompts: the chat template applied once, ids kept from then on."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from components.cases.case import Case
from components.errors import DataError
from components.modeling.tokenizers import encode_prompts
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
