"""All parts of the evaluation for one model, each read from the result store where it was scored before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation.format_scoring import score_format
from components.evaluation.parts import Part
from components.evaluation.probe_scoring import score_probes
from components.evaluation.result_store import ResultStore, items_digest
from components.evaluation.results import ItemResult
from components.evaluation.scoring import Progress, score_cases
from components.evaluation.suites import SUITE_MODES
from components.settings.training import Precision

if TYPE_CHECKING:
    from components.rewards.oracle import Oracle

DEFAULT_TOKENS = 64


@dataclass(frozen=True)
class SamplingPlan:
    """How answers are sampled; part of the items digest."""

    temperature: float
    max_new_tokens: Mapping[str, int]
    samplings: Mapping[str, int]
    seed: int
    precision: Precision = "auto"

    def as_dict(self, suite: str) -> dict[str, object]:
        """Return what decides the sampling of one suite."""
        from components.modeling.precision import resolve_precision

        drawn = {"max_new_tokens": self.tokens(suite), "samplings": self.samplings.get(suite, 1), "precision": resolve_precision(self.precision)}
        return asdict(self) | drawn

    def tokens(self, suite: str) -> int:
        """The longest answer of a suite, in tokens."""
        return self.max_new_tokens.get(suite, DEFAULT_TOKENS)


class ModelScorer:
    """Scores parts for one model folder; the model is loaded when the first part is not in the store."""

    def __init__(self, folder: Path, digest: str, *, plan: SamplingPlan, store: ResultStore, grading: str, oracle: "Oracle | None") -> None:
        self.folder = folder
        self.digest = digest
        self.plan = plan
        self.store = store
        self.grading = grading
        self.oracle = oracle
        self._loaded: tuple[object, object, object] | None = None

    def score(self, parts: Sequence[Part], *, progress: Progress | None = None) -> list[ItemResult]:
        """Return the rows of all parts and the `format` rows read off them.

        Args:
            parts: what to ask.
            progress: called with (cases done, cases in all) of this model.
        """
        rows: list[ItemResult] = []
        total, finished = sum(len(part.cases) for part in parts), 0
        for part in parts:
            base = finished

            def report(done: int, of: int, base: int = base, size: int = len(part.cases)) -> None:
                if progress:
                    progress(base + round(size * done / max(1, of)), total)

            rows += self.score_part(part, progress=report)
            finished += len(part.cases)
            report(1, 1)
        cases = {case.id: case for part in parts if part.name != "exam_retrieval" for case in part.cases}
        return rows + score_format(rows, cases)

    def score_part(self, part: Part, *, progress: Progress | None = None) -> list[ItemResult]:
        """Return one part's rows, stored or new; new ones are stored before they are returned."""
        items = items_digest(part.cases, settings=self.plan.as_dict(part.suite), grading=self.grading)
        stored = self.store.load(self.digest, part.name, items)
        if stored is not None:
            return stored
        rows = self._ask(part, progress)
        self.store.save(self.digest, part.name, items, rows)
        return rows

    def _ask(self, part: Part, progress: Progress | None) -> list[ItemResult]:
        from components.generation.sampler import SamplingOptions

        model, tokenizer, sampler = self._load()
        if SUITE_MODES[part.suite] == "likelihood":
            return score_probes(model, tokenizer, part.cases, precision=self.plan.precision, progress=progress)
        options = SamplingOptions(max_new_tokens=self.plan.tokens(part.suite), temperature=self.plan.temperature, seed=self.plan.seed)
        return score_cases(
            sampler, tokenizer, part.cases, options=options, oracle=self.oracle, samplings=self.plan.samplings,
            condition=part.condition, progress=progress,
        )  # fmt: skip

    def _load(self) -> tuple[object, object, object]:
        if self._loaded is None:
            from components.generation.native_sampler import NativeSampler
            from components.modeling.models import load_model
            from components.modeling.tokenizers import load_tokenizer

            tokenizer, model = load_tokenizer(self.folder), load_model(self.folder)
            self._loaded = (model, tokenizer, NativeSampler(model, tokenizer, precision=self.plan.precision))
        return self._loaded
