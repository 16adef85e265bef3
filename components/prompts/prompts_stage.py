"""Stage `prompts`: the prompts of both reinforcement stages, stratified and filtered by this model's own answers.

Reasoning prompts: verified training cases that cold start has not seen → a pool stratified by task and entity → rollouts
of `cold_start` → those of middling pass rate. General prompts: preference cases whose answers the reward models tell
apart most and safety cases whose answers the rule tells apart most, entities taking turns. Stage 2 gets three reasoning
prompts to one general, none of them in stage 1.
"""

from collections.abc import Callable, Sequence
from statistics import pstdev
from typing import TYPE_CHECKING, Any

from components import layout
from components.cases.case import Case
from components.conversations import Sample
from components.documents import read_models, write_jsonl
from components.errors import DataError
from components.generation.conversations import sample_conversations
from components.generation.kept_sampler import KeptSampler
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import Sampler, SamplingOptions
from components.modeling.models import load_model
from components.modeling.tokenizers import load_tokenizer
from components.prompts.difficulty import Difficulty, difficulty_report, measure_difficulty, rule_scores, usable_prompts
from components.prompts.spread import reward_spreads
from components.prompts.strata import count_strata, stratified_draw
from components.rewards.answer_parsing import split_reasoning
from components.rewards.reward_model import RewardModel
from components.settings.training import PromptsSettings
from components.stage import StageContext
from components.storage.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

REASONING_TO_GENERAL = 3
GENERAL_POOL = 3  # general prompts looked at for each one kept
SAMPLING_SEED = 131


def run(context: StageContext) -> None:
    """Write both stages' prompts and the report.

    Raises:
        DataError: no reasoning prompt is of middling difficulty, so reinforcement learning has nothing to learn from.
    """
    settings: PromptsSettings = context.section("prompts")
    folder = context.fetch_model(layout.COLD_START)
    tokenizer = load_tokenizer(folder)
    sampler = KeptSampler(NativeSampler(load_model(folder), tokenizer, precision="auto"), context.checkpoints)
    cases = read_models(context.read(layout.TRAIN_CASES), Case)
    seen = {sample.case_id for sample in read_models(context.read(layout.COLD_START_SAMPLES), Sample)}
    verified = [case for case in cases if case.suite == "verified" and case.id not in seen]
    pool = stratified_draw(verified, count=settings.pool, seed=context.seed, word="pool")
    safety_prompts = round(settings.general_prompts * settings.safety_share)
    wanted = {"preference": settings.general_prompts - safety_prompts, "safety": safety_prompts}
    general_pool = [
        case for suite, count in wanted.items()
        for case in stratified_draw([case for case in cases if case.suite == suite], count=GENERAL_POOL * count, seed=context.seed, word="general")
    ]  # fmt: skip
    total = len(pool) + len(general_pool)

    def sample(chosen: Sequence[Case], done: int) -> list[list[str]]:
        return sample_texts(
            chosen, sampler, tokenizer, settings=settings, seed=context.seed,
            progress=lambda part, _: context.recorder.progress(done + part, total + 1),
        )  # fmt: skip

    difficulties = [
        measure_difficulty(case, texts, minimum=settings.minimum_pass_rate, maximum=settings.maximum_pass_rate)
        for case, texts in zip(pool, sample(pool, 0), strict=True)
    ]
    scorers = {name: RewardModel.load(context.fetch_model(path), precision="auto").score for name, path in
               (("honesty", layout.REWARD_HONESTY), ("helpfulness", layout.REWARD_HELPFULNESS))}  # fmt: skip
    spreads = general_spreads(general_pool, sample(general_pool, len(pool)), scorers)
    general = draw_general(general_pool, spreads, wanted=wanted, seed=context.seed)
    usable, filled = usable_prompts(difficulties, wanted=settings.reasoning_prompts + REASONING_TO_GENERAL * len(general))
    first, second = split_stages(usable, settings=settings, general=len(general), seed=context.seed)
    mixed = interleave(second, general)
    write_jsonl(context.write(layout.REASONING_PROMPTS), first)
    write_jsonl(context.write(layout.GENERAL_PROMPTS), mixed)
    _report(context, settings, difficulties, spreads, first, mixed, filled=filled)


def sample_texts(
    cases: Sequence[Case], sampler: Sampler, tokenizer: "PreTrainedTokenizerFast", *,
    settings: PromptsSettings, seed: int, progress: Callable[[int, int], None] | None = None,
) -> list[list[str]]:  # fmt: skip
    """Return the texts of `settings.rollouts` answers a case."""
    options = SamplingOptions(
        max_new_tokens=settings.max_new_tokens, samples=settings.rollouts, temperature=settings.temperature, seed=seed + SAMPLING_SEED
    )
    groups = sample_conversations(sampler, tokenizer, [case.messages for case in cases], options, progress=progress)
    return [[completion.text for completion in group] for group in groups]


def general_spreads(cases: Sequence[Case], answers: Sequence[Sequence[str]], scorers: dict[str, Any]) -> dict[str, float]:
    """Return case id → spread of the rewards over the case's answers: of the reward models, or of the rule for safety cases."""
    by_rule = {case.id: pstdev(rule_scores(case, group) or [0.0]) for case, group in zip(cases, answers, strict=True) if case.suite == "safety"}
    judged = [(case, group) for case, group in zip(cases, answers, strict=True) if case.suite != "safety"]
    return by_rule | _model_spreads([case for case, _ in judged], [group for _, group in judged], scorers)


def draw_general(pool: Sequence[Case], spreads: dict[str, float], *, wanted: dict[str, int], seed: int) -> list[Case]:
    """Return the prompts of largest spread of each suite, suites evenly spaced over the list."""
    drawn = []
    for suite, count in wanted.items():
        members = [case for case in pool if case.suite == suite]
        chosen = stratified_draw(members, count=count, seed=seed, word="spread", rank=lambda case: spreads[case.id])
        drawn += [((position + 0.5) / len(chosen), suite, case) for position, case in enumerate(chosen)]
    return [case for _, _, case in sorted(drawn, key=lambda entry: entry[:2])]


def _model_spreads(cases: Sequence[Case], answers: Sequence[Sequence[str]], scorers: dict[str, Any]) -> dict[str, float]:
    if not cases:
        return {}
    finals = [[split_reasoning(text)[1] for text in group] for group in answers]
    width = len(finals[0])
    conversations = [case.messages for case in cases for _ in range(width)]
    tables = {}
    for name, scorer in scorers.items():
        flat = scorer(conversations, [text for group in finals for text in group])
        tables[name] = [flat[start : start + width] for start in range(0, len(flat), width)]
    return dict(zip([case.id for case in cases], reward_spreads(tables), strict=True))


def split_stages(kept: Sequence[Case], *, settings: PromptsSettings, general: int, seed: int) -> tuple[list[Case], list[Case]]:
    """Divide the kept reasoning prompts between the stages, in the proportion asked for where there are too few.

    Raises:
        DataError: there is none.
    """
    if not kept:
        raise DataError(
            "prompts: no verified prompt has a pass rate between prompts.minimum_pass_rate and prompts.maximum_pass_rate; "
            "raise prompts.pool, widen the limits, or tune cold_start longer"
        )
    second_wanted = REASONING_TO_GENERAL * general
    ordered = stratified_draw(kept, count=len(kept), seed=seed, word="stages")
    share = min(1.0, len(ordered) / (settings.reasoning_prompts + second_wanted))
    second = round(second_wanted * share)
    return ordered[second : second + settings.reasoning_prompts], ordered[:second]


def interleave(reasoning: Sequence[Case], general: Sequence[Case]) -> list[Case]:
    """Put one general prompt after every three reasoning ones; general ones beyond that proportion are left out."""
    mixed: list[Case] = []
    for number, case in enumerate(general[: max(1, len(reasoning) // REASONING_TO_GENERAL)]):
        mixed.extend(reasoning[number * REASONING_TO_GENERAL : (number + 1) * REASONING_TO_GENERAL])
        mixed.append(case)
    return mixed


def _report(
    context: StageContext, settings: PromptsSettings, difficulties: list[Difficulty], spreads: dict[str, float],
    first: list[Case], mixed: list[Case], *, filled: int,
) -> None:  # fmt: skip
    general = [case for case in mixed if case.suite != "verified"]
    second = [case for case in mixed if case.suite == "verified"]
    difficulty = difficulty_report(difficulties)
    chosen = [spreads[case.id] for case in general]
    report = {
        "difficulty": difficulty,
        "rollouts": settings.rollouts,
        "filled_from_outside_limits": filled,
        "reasoning_stage_1": count_strata(first),
        "reasoning_stage_2": count_strata(second),
        "general_stage_2": count_strata(general),
        "mean_spread": {"pool": _mean(list(spreads.values())), "chosen": _mean(chosen)},
    }
    write_json(context.write(layout.PROMPTS_REPORT), report)
    outcomes: Any = difficulty["all"]["outcomes"]
    context.recorder.summary({
        "pool": len(difficulties), "mean_pass_rate": difficulty["all"]["mean_pass_rate"] or 0.0,  # type: ignore[dict-item]
        "stage_1_prompts": len(first), "stage_2_reasoning_prompts": len(second), "stage_2_general_prompts": len(general),
        **{f"{name}_prompts": number for name, number in outcomes.items()},
    })  # fmt: skip
    context.recorder.table("pass_rates", [{"task": task, **row} for task, row in difficulty.items()])
    wanted = settings.reasoning_prompts + REASONING_TO_GENERAL * settings.general_prompts
    if len(first) + len(second) < wanted:
        context.recorder.note(f"{len(first) + len(second)} of {wanted} reasoning prompts wanted were usable, {filled} of them outside the limits")
    context.recorder.progress(1, 1)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
