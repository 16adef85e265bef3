"""The steps of one seed: the recipe's stages, the controls beside them, and the scores of all models compared."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.controls import arms, scoring
from bench.controls.comparing import COMPARISONS
from bench.controls.workspaces import Work, arm_workspace, linked_workspace
from components import layout
from components.pipeline.graph import StageGraph, StageRow
from components.pipeline.running import stage_function
from components.settings.settings import Settings
from components.stage import StageContext
from components.storage.files import read_json

LEFT_OUT = ("grpo_general", "evaluate")  # stages that no control needs
RATIO_WAYS = ("uniform", "random")


@dataclass(frozen=True)
class Step:
    """One piece of work; `make` is called when its turn has come, for it may read what earlier steps made."""

    name: str
    like: str | None  # the stage whose last duration tells roughly how long it takes; None: nothing like it
    make: Callable[[], Work]


class SeedSteps:
    """All steps of one seed in their order."""

    def __init__(self, folder: Path, graph: StageGraph, settings: Settings) -> None:
        self.folder, self.graph, self.settings = folder, graph, settings
        # model → where its reference lies; filled from the layout and by the controls
        self.references = {name: folder / path for name, path in layout.MODELS.items()}

    def __iter__(self) -> Iterator[Step]:
        for row in self.graph.rows:
            if row.name not in LEFT_OUT:
                yield Step(row.name, row.name, functools.partial(Work, self.folder, row, self.settings, stage_function(row.name)))
        yield self._rerun("base_without_triples", "pretraining", layout.BASE, lambda: {layout.SENTENCES: ""})
        for way in RATIO_WAYS:
            yield self._rerun(f"ift_{way}", "ift", layout.IFT, functools.partial(self._ratios, way))
        yield Step("other_answers", "answers", self._other_answers)
        for way in arms.WAYS:
            chosen = self.folder / "arms/other_answers" / arms.OTHER_ANSWERS / way
            yield self._rerun(f"sft_{way}", "sft", layout.SFT, functools.partial(dict, {str(Path(layout.ANSWERS).parent): chosen}))
        yield self._supervised("supervised", is_validated=False)
        yield self._supervised("supervised_validated", is_validated=True)
        for model, suite in dict.fromkeys((model, row.suite) for row in COMPARISONS for model in (row.model, row.control)):
            yield Step(f"score {model} on {suite}", None, functools.partial(self._score, model, suite))

    def ratios(self) -> dict[str, dict[str, float]]:
        """Return the ratios of ift and of its controls."""
        tried = {way: json.loads(self._ratios(way)[layout.RATIOS])["ratios"] for way in RATIO_WAYS}
        return {"chosen": read_json(self.folder / layout.RATIOS)["ratios"], **tried}

    def compute(self) -> dict[str, dict[str, float]]:
        """Return the compute of the supervised controls: steps planned and taken, epochs, forward passes of a token."""
        return {name: read_json(self.folder / "arms" / name / arms.COMPUTE) for name in ("supervised", "supervised_validated")}

    def answers(self) -> dict[str, int]:
        """Return how many tuning queries there are, how many had no choice, and on how many each other choice differs."""
        return read_json(self.folder / "arms/other_answers" / arms.OTHER_ANSWERS / "report.json")

    def scores(self, model: str, suite: str) -> dict[str, dict[str, float]]:
        """Return what `score_suite` wrote of a model."""
        return read_json(self.folder / "scores" / model / scoring.scores_path(suite))

    def _rerun(self, name: str, stage: str, output: str, changed: Callable[[], Mapping[str, Path | str]]) -> Step:
        """Return the stage once more, with changed inputs."""
        row = self.graph.row(stage)
        self.references[name] = self.folder / "arms" / name / output

        def make() -> Work:
            return Work(arm_workspace(self.folder, name, row, changed=changed()), row, self.settings, stage_function(stage))

        return Step(name, stage, make)

    def _ratios(self, way: str) -> dict[str, str]:
        groups = sorted(read_json(self.folder / layout.RATIOS)["ratios"])
        return {layout.RATIOS: arms.ratios_text(arms.other_ratios(way, groups, floor=self.settings.mixture.floor, seed=self.settings.run.seed))}

    def _other_answers(self) -> Work:
        answers = self.graph.row("answers")
        row = StageRow("answers", answers.parameters, (*answers.inputs, layout.ANSWERS, layout.ANSWERS_VALIDATION, arms.CODE), (arms.OTHER_ANSWERS,))
        return Work(arm_workspace(self.folder, "other_answers", row, changed={}), row, self.settings, arms.answer_otherwise)

    def _supervised(self, name: str, *, is_validated: bool) -> Step:
        cold_start = self.graph.row("cold_start")
        code = [path for path in cold_start.inputs if path.startswith("components/")]
        more = (layout.VALIDATION_CASES,) if is_validated else ()
        inputs = (layout.COLD_START, layout.REASONING_PROMPTS, arms.GRPO_TOKENS, *more, *code, arms.CODE)
        row = StageRow("cold_start", cold_start.parameters, inputs, (arms.SUPERVISED, arms.COMPUTE))
        self.references[name] = self.folder / "arms" / name / arms.SUPERVISED
        function: Callable[[StageContext], None] = functools.partial(arms.tune_on_reasoning, is_validated=is_validated)

        def make() -> Work:
            grpo = Work(self.folder, self.graph.row("grpo_reasoning"), self.settings, function)
            tokens = arms.grpo_tokens(grpo.record_folder, has_reference=self.settings.grpo_reasoning.kl_weight > 0)
            changed = {arms.GRPO_TOKENS: json.dumps(tokens, sort_keys=True)}
            return Work(arm_workspace(self.folder, name, row, changed=changed), row, self.settings, function)

        return Step(name, "grpo_reasoning", make)

    def _score(self, model: str, suite: str) -> Work:
        evaluate = self.graph.row("evaluate")
        shared = tuple(path for path in evaluate.inputs if path.startswith(("components/", "data/")))
        inputs = (layout.TEST_CASES, *shared, scoring.CODE)
        row = StageRow(f"score_{suite}", evaluate.parameters, (*inputs, scoring.SCORED), (scoring.scores_path(suite),))
        links = {path: self.folder / path for path in inputs} | {scoring.SCORED: self.references[model]}
        root = linked_workspace(self.folder / "scores" / model, links)
        return Work(root, row, self.settings, functools.partial(scoring.score_suite, suite=suite))
