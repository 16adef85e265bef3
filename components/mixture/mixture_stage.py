"""Stage `mixture`: the search for task-group ratios, the uniform mix at equal budget beside it, and what was found.

The uniform mix is tried like any other, so the search may also find nothing better. The found mix is judged on runs the
search never saw: it and the uniform mix are tuned with fresh seeds at equal budget, and the uniform mix is kept where it
does better there (noise of a short trial must not cost the tuning). A finished run is written to the checkpoint folder,
so a kill costs one run.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from components import layout
from components.cases.case import Case
from components.conversations import Sample
from components.documents import read_models
from components.evaluation.report.mixture_plots import mixture_page
from components.lineage import digest_value
from components.mixture.search import Trial, search_ratios
from components.mixture.simplex import uniform_ratios
from components.mixture.surrogate import Surrogate
from components.mixture.trial import load_setting, overall_score, run_trial
from components.settings.training import MixtureSettings
from components.stage import StageContext
from components.storage.files import atomic_writer, read_json, write_json

GroupScores = Callable[[Mapping[str, float], int], dict[str, float]]


def run(context: StageContext) -> None:
    """Search, choose, compare with the uniform mix, and write ratios.json and its plots."""
    settings: MixtureSettings = context.section("mixture")
    samples = read_models(context.read(layout.SAMPLES), Sample)
    groups = sorted({sample.group for sample in samples})
    cases = read_models(context.read(layout.VALIDATION_CASES), Case)
    tuning = settings.tuning.model_copy(update={"steps": settings.trial_steps})

    @functools.cache
    def setting() -> Any:
        return load_setting(context.fetch_model(layout.BASE), samples, cases, tuning=tuning, count=settings.trial_cases, measure=settings.measure)

    def tuned_scores(ratios: Mapping[str, float], seed: int) -> dict[str, float]:
        path = context.checkpoints.folder / "runs" / f"{digest_value([dict(ratios), seed])[:24]}.json"
        if not path.is_file():
            write_json(path, run_trial(setting(), ratios, seed=seed))
        scores: dict[str, float] = read_json(path)
        return scores

    found = search_and_compare(tuned_scores, groups, settings=settings, seed=context.seed, context=context)
    write_json(context.write(layout.RATIOS), found)
    _record(context, found)


def search_and_compare(
    tuned_scores: GroupScores, groups: Sequence[str], *, settings: MixtureSettings, seed: int, context: StageContext
) -> dict[str, Any]:
    """Return what ratios.json holds: ratios, trials, best, uniform, comparison, importance."""
    total = settings.start_up_trials + settings.gp_trials + 1 + 2 * settings.comparison_seeds
    best_so_far = [0.0]

    def objective(ratios: Mapping[str, float], number: int) -> float:
        score = overall_score(tuned_scores(ratios, seed), settings.weights, measure=settings.measure)
        best_so_far[0] = max(best_so_far[0], score)
        context.recorder.metrics({"score": score, "best_score": best_so_far[0]}, step=number)
        context.recorder.progress(number + 1, total, score=score)
        return score

    trials = search_ratios(
        objective, groups, floor=settings.floor, start_up_trials=settings.start_up_trials, gp_trials=settings.gp_trials,
        seed=seed, storage=context.checkpoints.folder / "study.db",
    )  # fmt: skip
    uniform = Trial(len(trials), "uniform", uniform_ratios(groups), objective(uniform_ratios(groups), len(trials)))
    tried = [*trials, uniform]
    surrogate = Surrogate([trial.ratios for trial in tried], [trial.score for trial in tried], groups)
    means = surrogate.mean([trial.ratios for trial in tried])
    best = tried[int(np.argmax(means))]
    comparison = _compare(tuned_scores, best.ratios, uniform.ratios, settings=settings, seed=seed, context=context, done=len(tried), total=total)
    keeps_uniform = bool(comparison["chosen"]) and sum(comparison["uniform"]) > sum(comparison["chosen"])
    return {
        "ratios": uniform.ratios if keeps_uniform else best.ratios,
        "kept": "uniform" if keeps_uniform else "found",
        "measure": settings.measure,
        "best": {"number": best.number, "kind": best.kind, "score": best.score, "posterior_mean": float(means.max())},
        "trials": [_row(trial, float(mean), tuned_scores(trial.ratios, seed)) for trial, mean in zip(tried, means, strict=True)],
        "uniform": {"ratios": uniform.ratios, "score": uniform.score, "posterior_mean": float(means[-1])},
        "comparison": comparison,
        "importance": surrogate.importance(floor=settings.floor, generator=np.random.default_rng([seed, 7])),
    }  # fmt: skip


def _compare(
    tuned_scores: GroupScores, chosen: Mapping[str, float], uniform: Mapping[str, float], *, settings: MixtureSettings, seed: int,
    context: StageContext, done: int, total: int,
) -> dict[str, list[float]]:  # fmt: skip
    scores: dict[str, list[float]] = {"chosen": [], "uniform": []}
    for number in range(settings.comparison_seeds):
        for name, ratios in (("chosen", chosen), ("uniform", uniform)):
            fresh = int(digest_value(["mixture comparison", seed, number])[:8], 16)
            scores[name].append(overall_score(tuned_scores(ratios, fresh), settings.weights, measure=settings.measure))
            done += 1
            context.recorder.progress(done, total, score=scores[name][-1])
    return scores


def _row(trial: Trial, mean: float, group_scores: Mapping[str, float]) -> dict[str, Any]:
    return {
        "number": trial.number, "kind": trial.kind, "ratios": trial.ratios, "score": trial.score, "posterior_mean": mean,
        "group_scores": dict(group_scores),
    }  # fmt: skip


def _record(context: StageContext, found: dict[str, Any]) -> None:
    settings: MixtureSettings = context.section("mixture")
    page = context.checkpoints.folder / "mixture.html"
    with atomic_writer(page) as stream:
        stream.write(mixture_page(found))
    context.recorder.file("mixture.html", page)
    context.recorder.table("trials", [{**row, **{f"ratio.{group}": share for group, share in row["ratios"].items()}} for row in found["trials"]])
    chosen, uniform = found["comparison"]["chosen"], found["comparison"]["uniform"]
    summary = {f"ratio.{group}": share for group, share in found["ratios"].items()}
    summary |= {"best_score": found["best"]["score"]}
    if chosen:
        summary |= {"chosen_score": float(np.mean(chosen)), "uniform_score": float(np.mean(uniform))}
        context.recorder.note(
            f"on {len(chosen)} fresh seeds at equal budget the found mix scores {np.mean(chosen):.4f}, the uniform mix {np.mean(uniform):.4f} ({settings.measure}); kept: {found['kept']}"
        )
    context.recorder.summary(summary)
