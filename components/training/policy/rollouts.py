"""Rollouts: sample a group of answers to each prompt and have every answer judged.

A reward that fails is None: the answer is left out of its group's statistics and counted, never scored 0. A reward
function that returns the wrong number of values, or values of the wrong type, is refused. A judge that samples may be
asked several times an answer (report §3.3: 8 rollouts of the verifier); its scores are averaged.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter

from components.errors import DataError
from components.generation.sampler import Sampler, SamplingOptions
from components.lineage import digest_value
from components.training.engines.ranks import Ranks
from components.training.engines.sharing import shares_by_tokens
from components.training.policy.groups import Answer, Group, PolicyPrompt, RewardFunction, is_scored


@dataclass(frozen=True)
class RolloutBatch:
    """The groups of one round of sampling, with its cost in seconds."""

    groups: tuple[Group, ...]
    seconds_generate: float
    seconds_score: float

    @property
    def unscored(self) -> int:
        """Answers left out because a reward gave None."""
        return sum(not is_scored(answer) for group in self.groups for answer in group.answers)


def rollout_seed(seed: int, *, step: int, part: int) -> int:
    """Return the sampling seed of one round of one step: a function of these numbers alone, so a resume is exact."""
    return int(digest_value([seed, "rollout", step, part])[:12], 16)


def sample_groups(
    sampler: Sampler,
    prompts: Sequence[PolicyPrompt],
    reward: RewardFunction,
    *,
    options: SamplingOptions,
    first_group: int = 0,
    verifier_rollouts: int = 1,
) -> RolloutBatch:
    """Sample `options.samples` answers to each prompt and judge them.

    Returns:
        One group a prompt, in order, with ids from `first_group`.
    Raises:
        DataError: the reward function returned the wrong number or type of values.
    """
    start = perf_counter()
    completions = sampler.generate([list(prompt.ids) for prompt in prompts], options)
    generated = perf_counter()
    flat = [completion for row in completions for completion in row]
    repeated = [prompt for prompt, row in zip(prompts, completions, strict=True) for _ in row]
    rewards = judge_answers(reward, repeated, [completion.text for completion in flat], rollouts=verifier_rollouts)
    answers = [
        Answer(tuple(item.ids), tuple(item.logprobs), item.finish_reason, item.text, scores)
        for item, scores in zip(flat, rewards, strict=True)
    ]
    groups = tuple(
        Group(first_group + index, prompt, tuple(answers[index * options.samples : (index + 1) * options.samples]))
        for index, prompt in enumerate(prompts)
    )
    return RolloutBatch(groups, generated - start, perf_counter() - generated)


def sample_shared(
    sampler: Sampler,
    prompts: Sequence[PolicyPrompt],
    reward: RewardFunction,
    *,
    options: SamplingOptions,
    first_group: int = 0,
    verifier_rollouts: int = 1,
    ranks: Ranks,
) -> RolloutBatch:
    """Do `sample_groups` with the prompts shared by the ranks; every rank returns all groups, in the prompts' order.

    An answer is drawn by numbers of its own prompt and seed, so who draws it does not matter. Seconds are this rank's.
    """
    if ranks.size == 1:
        return sample_groups(sampler, prompts, reward, options=options, first_group=first_group, verifier_rollouts=verifier_rollouts)
    places = shares_by_tokens(range(len(prompts)), tokens=lambda place: len(prompts[place].ids), ranks=ranks.size)
    own = [prompts[place] for place in places[ranks.rank]]
    batch = RolloutBatch((), 0.0, 0.0)
    if own:
        batch = sample_groups(sampler, own, reward, options=options, verifier_rollouts=verifier_rollouts)
    gathered = ranks.gather([[asdict(answer) for answer in group.answers] for group in batch.groups])
    groups: dict[int, Group] = {}
    for taken, rows in zip(places, gathered, strict=True):
        for place, row in zip(taken, rows, strict=True):
            answers = tuple(Answer(**{**item, "ids": tuple(item["ids"]), "sampler_logprobs": tuple(item["sampler_logprobs"])}) for item in row)
            groups[place] = Group(first_group + place, prompts[place], answers)
    return replace(batch, groups=tuple(groups[place] for place in range(len(prompts))))


def judge_answers(
    reward: RewardFunction, prompts: Sequence[PolicyPrompt], texts: Sequence[str], *, rollouts: int
) -> list[dict[str, float | None]]:
    """Return every answer's rewards, each the mean over `rollouts` judgements; None where none of them gave a number.

    The judge is called once, with every answer `rollouts` times in a row, so that it can tell the repetitions apart.
    """
    asked = [prompt for prompt in prompts for _ in range(rollouts)]
    repeated = [text for text in texts for _ in range(rollouts)]
    judged = checked_rewards(reward(asked, repeated), expected=len(repeated))
    return judged if rollouts == 1 else [_mean_rewards(judged[start : start + rollouts]) for start in range(0, len(judged), rollouts)]


def checked_rewards(
    rewards: Sequence[Mapping[str, float | None]], *, expected: int
) -> list[dict[str, float | None]]:
    """Return the rewards as plain dictionaries; a value that is not finite becomes None.

    Raises:
        DataError: not one mapping an answer, or a value that is neither a number nor None.
    """
    if len(rewards) != expected:
        raise DataError(f"reward function: {len(rewards)} values for {expected} answers; return one mapping an answer")
    checked = []
    for position, scores in enumerate(rewards):
        if not isinstance(scores, Mapping):
            raise DataError(f"reward function: answer {position}: expected a mapping, found {type(scores).__name__}")
        checked.append({name: _checked_value(name, value, position) for name, value in scores.items()})
    return checked


def _checked_value(name: str, value: float | None, position: int) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise DataError(f"reward {name}: answer {position}: expected a number or None, found {type(value).__name__}")
    return float(value) if math.isfinite(value) else None


def _mean_rewards(judgements: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    names = sorted({name for judgement in judgements for name in judgement})
    scored = {name: [value for judgement in judgements if (value := judgement.get(name)) is not None] for name in names}
    return {name: sum(values) / len(values) if values else None for name, values in scored.items()}
