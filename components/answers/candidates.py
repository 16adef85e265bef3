"""Candidates: sampled from the tuned model, checked by the rules, scored by the reward models."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.answers.best_of_n import Candidate
from components.answers.rule_checks import broken_rules
from components.cases.case import Case
from components.conversations import Message
from components.generation.conversations import sample_conversations
from components.generation.sampler import Completion, Progress, Sampler, SamplingOptions
from components.rewards.answer_parsing import split_reasoning
from components.rewards.mentions import MentionFinder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Scorer = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[float]]


def sample_candidates(
    sampler: Sampler, tokenizer: "PreTrainedTokenizerFast", cases: Sequence[Case], options: SamplingOptions, *, progress: Progress | None = None
) -> list[list[Completion]]:
    """Return `options.samples` completions a case."""
    return sample_conversations(sampler, tokenizer, [case.messages for case in cases], options, progress=progress)


def score_candidates(
    cases: Sequence[Case],
    completions: Sequence[Sequence[Completion]],
    *,
    finder: MentionFinder,
    unsafe_drugs: Mapping[str, frozenset[str]],
    scorers: Mapping[str, Scorer],
) -> list[list[Candidate]]:
    """Check every completion by the rules and score those that keep them; equal texts are scored once.

    Reward models read the question without its passages, as they were tuned, and the final answer alone.

    Args:
        unsafe_drugs: case id → drugs the patient must not get.
        scorers: reward model name → its scoring function.
    """
    checked = []
    for case, group in zip(cases, completions, strict=True):
        for completion in group:
            broken = broken_rules(case, completion, finder, unsafe_drugs=unsafe_drugs.get(case.id, frozenset()))
            checked.append((case, split_reasoning(completion.text)[1], broken))
    wanted = list(dict.fromkeys((case.id, text) for case, text, broken in checked if not broken))
    questions = {case.id: question_of(case) for case in cases}
    rewards: dict[tuple[str, str], dict[str, float]] = {key: {} for key in wanted}
    for name, scorer in sorted(scorers.items()):
        scores = scorer([questions[case_id] for case_id, _ in wanted], [text for _, text in wanted]) if wanted else []
        for key, score in zip(wanted, scores, strict=True):
            rewards[key][name] = float(score)
    flat = iter(Candidate(text, broken, {} if broken else rewards[case.id, text]) for case, text, broken in checked)
    return [[next(flat) for _ in group] for group in completions]


def question_of(case: Case) -> tuple[Message, ...]:
    """Return the conversation without the lines that show passages."""
    if not case.passages:
        return case.messages
    shown = {passage.text for passage in case.passages}
    lines = [line for line in case.prompt.splitlines() if not any(text in line for text in shown)]
    return (*case.messages[:-1], Message(role="user", content="\n".join(lines).strip() or case.prompt))
