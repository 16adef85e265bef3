"""What a person, or a page, is shown of a registered version: its scores and the gate against the present champion.

The rows of the run's own candidate are read from the evaluation; every other model is scored on the present test items by
`components/pipeline/champion_scoring.py`, which reads what was scored before. Nothing is promoted and no alias changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components import layout
from components.errors import UserError
from components.evaluation.metrics import suite_metrics
from components.evaluation.results import ItemResult, read_results
from components.lineage import digest_value
from components.registry.decision import champion_reference, decision_key
from components.registry.gate import judge
from components.registry.journal import open_journal
from components.registry.version_models import stored_reference
from components.registry.version_reading import find_version, open_registry
from components.registry.versions import CANDIDATE
from components.registry.weaknesses import weakest_tasks
from components.settings.settings import Settings, load_settings
from components.storage.artifact_store import ModelReference, read_reference

Score = Callable[[str, dict[str, object]], str]  # (root, model reference) → Parquet file of its rows


@dataclass(frozen=True)
class Assessment:
    """A version, the champion it was compared with, and what came out; JSON values throughout.

    `verdict` is `GateVerdict.as_dict()` with "weakest" (the tasks the version fails most on), None where the version's model
    is the champion's. `metrics` is {model: {suite: {value, low, high, n}}} of the version and of what it was compared with.
    """

    model: str
    version: str
    champion: str | None
    reference: Mapping[str, Any]
    decision_key: str
    verdict: Mapping[str, Any] | None
    metrics: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def assess_version(root: Path, wanted: str, *, model: str | None = None, score: Score | None = None) -> Assessment:
    """Score a version and run the gate.

    Args:
        wanted: models:/name@alias, an alias or a version's number.
        model: name in the registry; that of the settings where None or empty.
        score: replaces the scoring of models that are not this run's candidate.
    Raises:
        UserError: there is no such version, or no evaluation to compare with.
        StorageError: its bytes are missing or damaged.
    """
    settings = load_settings(root / "params.yaml")
    client = open_registry(root)
    record = find_version(client, wanted, model=model or settings.system.model_name)
    reference = stored_reference(root, client, record)
    champion = champion_reference(root) if record.model == settings.system.model_name else None
    named = f"version {record.version}"
    rows = {named: _rows(root, reference, score)}
    verdict = None
    if champion is None:
        rows["base"] = _base_rows(root)
    elif champion[1].digest != reference.digest:
        rows["champion"] = _rows(root, champion[1], score)
    if len(rows) > 1:
        judged = judge(rows[named], rows.get("champion"), rows.get("base", ()), settings=settings.gate, seed=settings.run.seed)
        verdict = {**judged.as_dict(), "weakest": weakest_tasks(rows[named], settings=settings)}
    return Assessment(
        record.model, record.version, champion[0] if champion else None, reference.model_dump(), _decision_key(root, settings, record.model, reference), verdict,
        suite_metrics(rows, seed=settings.run.seed, confidence=settings.evaluate.confidence, draws=settings.evaluate.bootstrap_draws),
    )  # fmt: skip


def _rows(root: Path, reference: ModelReference, score: Score | None) -> list[ItemResult]:
    if _is_candidate(root, reference) and (root / layout.RESULTS).is_file():
        return read_results(root / layout.RESULTS)[CANDIDATE]
    if score is None:
        from components.launch.torch_setup import prepare_torch
        from components.pipeline.champion_scoring import score_champion

        prepare_torch(load_settings(root / "params.yaml").run.threads)
        score = score_champion
    return [row for rows in read_results(Path(score(str(root), reference.model_dump()))).values() for row in rows]


def _base_rows(root: Path) -> list[ItemResult]:
    if not (root / layout.RESULTS).is_file():
        raise UserError(f"{layout.RESULTS}: no evaluation yet, and without a champion the gate compares with base; run `quarkmed retrain` first")
    return read_results(root / layout.RESULTS)["base"]


def _is_candidate(root: Path, reference: ModelReference) -> bool:
    path = root / layout.MODELS[CANDIDATE]
    return path.is_file() and read_reference(path).digest == reference.digest


def _decision_key(root: Path, settings: Settings, model: str, reference: ModelReference) -> str:
    """Return the key a decision on this version is kept under: the run's own for its candidate, so that `retrain` finds it settled."""
    if model == settings.system.model_name and _is_candidate(root, reference) and (root / layout.RESULTS).is_file():
        return decision_key(root)
    earlier = [entry for entry in open_journal(root).entries(model) if (entry.details.get("reference") or {}).get("digest") == reference.digest]
    return earlier[-1].decision_key if earlier else digest_value(["assessed", model, reference.digest, settings.gate.model_dump(mode="json")])
