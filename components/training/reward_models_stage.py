"""Stage 9, reward models for honesty and helpfulness (report §3.4).

Candidates of two checkpoints (base and ift) and corruptions of gold answers, to training questions, are labelled by the
oracle over the knowledge base; a Bradley–Terry model is tuned for each dimension. Accuracy is measured on pairs about
entities (clusters) that no training pair is about. Departure: the oracle stands for the report's annotators. On several
processes each draws a share of the candidates and passes a share of every step.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components import layout
from components.cases.case import Case
from components.conversations import PreferencePair
from components.documents import read_models, write_jsonl
from components.generation.conversations import sample_conversations
from components.generation.kept_sampler import KeptSampler
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import Progress, Sampler, SamplingOptions
from components.knowledge_base.loading import load_knowledge_base
from components.lineage import stable_fraction
from components.modeling.models import load_model
from components.modeling.tokenizers import load_tokenizer
from components.rewards.labelling import make_pairs
from components.rewards.oracle import Oracle
from components.rewards.reward_model import create_reward_model, save_reward_model
from components.settings.training import RewardModelSettings
from components.stage import StageContext
from components.statistics.bootstrap import mean_interval
from components.storage.files import write_json
from components.training.engines.ranks import SINGLE, Ranks, join_ranks
from components.training.preference.bradley_terry import pair_accuracy
from components.training.preference.tuning import score_pairs, tune_reward_model

REWARDS = {"honesty": layout.REWARD_HONESTY, "helpfulness": layout.REWARD_HELPFULNESS}


def run(context: StageContext) -> None:
    """Sample, label, tune and publish the two reward models, and report their accuracy on held-out clusters."""
    settings: RewardModelSettings = context.section("reward_models")
    cases = chosen_cases(read_models(context.read(layout.TRAIN_CASES), Case), count=settings.prompts, seed=context.seed)
    samples = candidate_answers(context, cases, settings)
    oracle = Oracle(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE)))
    pairs = make_pairs(cases, samples, oracle, seed=context.seed, pairs_per_case=settings.pairs_per_prompt)
    write_jsonl(context.write(layout.REWARD_PAIRS), pairs)
    held_out = held_out_clusters([case.cluster for case in cases], share=settings.holdout_share, seed=context.seed)
    report = {
        name: tune_dimension(context, name, [pair for pair in pairs if pair.dimension == name], held_out, settings)
        for name in REWARDS
    }
    write_json(context.write(layout.REWARD_REPORT), report)
    context.recorder.summary(
        {f"{name}_{key}": value for name, values in report.items() for key, value in values.items()}
    )


def chosen_cases(cases: Sequence[Case], *, count: int, seed: int) -> list[Case]:
    """Return up to `count` general cases, fixed by the seed, in the order of their ids."""
    general = [case for case in cases if case.suite == "preference"]
    kept = sorted(general, key=lambda case: stable_fraction(str(seed), "reward_models", case.id))[:count]
    return sorted(kept, key=lambda case: case.id)


def held_out_clusters(clusters: Sequence[str], *, share: float, seed: int) -> frozenset[str]:
    """Return the clusters whose pairs only measure, at least one: a share of them fixed by the seed."""
    distinct = sorted(set(clusters), key=lambda cluster: stable_fraction(str(seed), "held_out", cluster))
    return frozenset(distinct[: max(1, round(share * len(distinct)))])


def candidate_answers(context: StageContext, cases: Sequence[Case], settings: RewardModelSettings) -> dict[str, list[str]]:
    """Return case id → sampled answers: two thirds of the candidates from ift, the rest from base."""
    from_base = settings.candidates // 3
    ranks = SINGLE if context.section("engine").is_single else join_ranks()
    answers: dict[str, list[str]] = {case.id: [] for case in cases}
    for part, (path, count) in enumerate(((layout.BASE, from_base), (layout.IFT, settings.candidates - from_base))):
        if not count:
            continue
        folder = context.fetch_model(path)
        tokenizer = load_tokenizer(folder)
        options = SamplingOptions(
            max_new_tokens=settings.max_new_tokens, samples=count, temperature=settings.temperature, seed=context.seed * 2 + part
        )
        sampler = KeptSampler(NativeSampler(load_model(folder), tokenizer, precision=settings.tuning.precision), context.checkpoints.child(f"model-{part}"))
        drawn = draw_shared(sampler, tokenizer, cases, options, ranks=ranks, progress=context.recorder.progress)
        for case in cases:
            answers[case.id].extend(drawn[case.id])
    return answers


def draw_shared(
    sampler: Sampler, tokenizer: PreTrainedTokenizerFast, cases: Sequence[Case], options: SamplingOptions, *, ranks: Ranks, progress: Progress
) -> dict[str, list[str]]:
    """Return case id → answers, each rank drawing those of its share of the prompts; who draws an answer does not change it.

    Equal prompts stay with one rank: what is drawn for one depends on how many came before it.
    """
    own = [case for case in cases if int(stable_fraction(*(message.content for message in case.messages)) * ranks.size) == ranks.rank]
    groups = sample_conversations(sampler, tokenizer, [case.messages for case in own], options, progress=progress) if own else []
    rows = [[case.id, [completion.text for completion in group]] for case, group in zip(own, groups, strict=True)]
    return {identifier: texts for part in ranks.gather(rows) for identifier, texts in part}


def tune_dimension(
    context: StageContext, name: str, pairs: Sequence[PreferencePair], held_out: frozenset[str], settings: RewardModelSettings
) -> dict[str, float]:
    """Tune and publish one reward model; return its figures."""
    training = [pair for pair in pairs if pair.cluster not in held_out]
    testing = [pair for pair in pairs if pair.cluster in held_out]
    folder = context.fetch_model(layout.IFT)
    tokenizer = load_tokenizer(folder)
    model = create_reward_model(load_model(folder), seed=context.seed)
    tune_reward_model(
        model, tokenizer, training, settings=settings.tuning, centring=settings.centring,
        margin_scale=settings.margin_scale, seed=context.seed, recorder=context.recorder, name=name,
        checkpoints=context.checkpoints.child(name), engine=context.section("engine"),
    )  # fmt: skip
    scores = score_pairs(model, tokenizer, training, precision=settings.tuning.precision)
    rewards = torch.cat(scores)
    mean, scale = float(rewards.mean()), max(float(rewards.std()), 1e-6)
    with tempfile.TemporaryDirectory() as temporary:
        save_reward_model(model, tokenizer, Path(temporary), mean=mean, scale=scale)
        context.publish_model(Path(temporary), REWARDS[name], parent=layout.IFT)
    figures = {
        "training_pairs": float(len(training)), "training_accuracy": float(pair_accuracy(*scores).mean()),
        "mean": mean, "scale": scale,
    }  # fmt: skip
    return figures | held_out_figures(model, tokenizer, testing, seed=context.seed)


def held_out_figures(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[PreferencePair], *, seed: int
) -> dict[str, float]:
    """Return pair accuracy with its clustered interval, and the share of pairs whose better answer is the longer one."""
    if not pairs:
        return {"held_out_pairs": 0.0}
    correct = pair_accuracy(*score_pairs(model, tokenizer, pairs, precision="float32")).tolist()
    interval = mean_interval(correct, [pair.cluster for pair in pairs], generator=np.random.default_rng(seed))
    longer = [len(pair.chosen.split()) > len(pair.rejected.split()) for pair in pairs]
    return {
        "held_out_pairs": float(len(pairs)), "accuracy": interval.value, "accuracy_low": interval.low,
        "accuracy_high": interval.high, "longer_is_better": sum(longer) / len(longer),
    }  # fmt: skip

