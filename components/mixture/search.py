"""The search for ratios: an Optuna study with a Gaussian-process sampler over the simplex of task groups.

The report (§3.2.4) models the overall score as a function of the ratios by Gaussian-process regression and picks the
next point by an infill criterion; Optuna's GPSampler does both (Matérn 5/2, log expected improvement).

Resuming: the study in SQLite keeps finished trials but no sampler state, so each trial gets a sampler of its own,
seeded by (seed, number), that sees the finished trials and nothing else. A trial left RUNNING by a kill is failed and
run again under the same number, hence the same seed and the same ratios: a resumed study equals an undisturbed one.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.errors import StorageError
from components.lineage import digest_value
from components.mixture.simplex import ratios_from_cube

if TYPE_CHECKING:
    import optuna

STUDY = "mixture"
NUMBER = "quarkmed_number"
Objective = Callable[[Mapping[str, float], int], float]


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    kind: Literal["random", "gp", "uniform"]
    ratios: dict[str, float]
    score: float


def search_ratios(
    objective: Objective,
    groups: Sequence[str],
    *,
    floor: float,
    start_up_trials: int,
    gp_trials: int,
    seed: int,
    storage: Path,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Run the study to its end, going on from what `storage` holds.

    Args:
        objective: (ratios, trial number) → score, larger is better; deterministic in both.
        groups: names, two or more, in a fixed order.
        floor: least ratio of a group.
        start_up_trials: uniform points of the simplex before the Gaussian process leads.
        gp_trials: trials it leads.
        storage: SQLite file of the study.
        on_trial: told of every trial run now (not of those found in the storage).
    Returns:
        All trials by number.
    Raises:
        StorageError: the file is not this study.
    """
    study = _open_study(storage)
    _fail_orphans(study)
    finished = _finished(study, groups, floor=floor, start_up_trials=start_up_trials)
    if [trial.number for trial in finished] != list(range(len(finished))):
        raise StorageError(f"{storage}: its trials are not numbered 0, 1, 2, …; delete the file to search anew")
    for number in range(len(finished), start_up_trials + gp_trials):
        study.sampler = _trial_sampler(seed, number, start_up_trials=start_up_trials)
        asked = study.ask(_space(groups))
        asked.set_user_attr(NUMBER, number)
        ratios = ratios_from_cube([asked.params[name] for name in _space(groups)], groups, floor=floor)
        score = objective(ratios, number)
        study.tell(asked, score)
        trial = Trial(number, _kind(number, start_up_trials), ratios, score)
        finished.append(trial)
        if on_trial:
            on_trial(trial)
    return finished


def trial_seed(seed: int, number: int) -> int:
    """Return the sampler seed of a trial, in [0, 2**31)."""
    return int(digest_value(["mixture trial", seed, number])[:8], 16) % 2**31


def _open_study(storage: Path) -> "optuna.Study":
    import optuna
    from sqlalchemy.exc import DatabaseError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage.parent.mkdir(parents=True, exist_ok=True)
    try:
        return optuna.create_study(study_name=STUDY, storage=f"sqlite:///{storage}", direction="maximize", load_if_exists=True)
    except DatabaseError as error:
        raise StorageError(f"{storage}: not a study ({error.orig}); delete the file to search anew") from None


def _fail_orphans(study: "optuna.Study") -> None:
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _trial_sampler(seed: int, number: int, *, start_up_trials: int) -> "optuna.samplers.BaseSampler":
    import optuna

    own_seed = trial_seed(seed, number)
    if number < start_up_trials:
        return optuna.samplers.RandomSampler(seed=own_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=own_seed, n_startup_trials=0, deterministic_objective=False)


def _space(groups: Sequence[str]) -> "dict[str, optuna.distributions.BaseDistribution]":
    from optuna.distributions import FloatDistribution

    return {f"cut_{position}": FloatDistribution(0.0, 1.0) for position in range(len(groups) - 1)}


def _finished(study: "optuna.Study", groups: Sequence[str], *, floor: float, start_up_trials: int) -> list[Trial]:
    from optuna.trial import TrialState

    trials = []
    for stored in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        number, names = stored.user_attrs.get(NUMBER), list(_space(groups))
        if number is None or sorted(stored.params) != sorted(names) or stored.value is None:
            raise StorageError(f"mixture study: trial {stored.number} searched other groups than {', '.join(groups)}; delete the study's file")
        ratios = ratios_from_cube([stored.params[name] for name in names], groups, floor=floor)
        trials.append(Trial(number, _kind(number, start_up_trials), ratios, stored.value))
    return sorted(trials, key=lambda trial: trial.number)


def _kind(number: int, start_up_trials: int) -> Literal["random", "gp"]:
    return "random" if number < start_up_trials else "gp"
