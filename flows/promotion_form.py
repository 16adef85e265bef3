"""The form by which a person decides on a promotion: the gate's table above three fields, all required."""

from typing import Literal

from prefect.input import RunInput
from pydantic import Field

from components.registry.assessment import Assessment
from components.registry.gate_table import FORM_COLUMNS, gate_markdown

NOT_EMPTY = r"\S"


class PromotionDecision(RunInput):
    """What a person answers."""

    decision: Literal["promote", "reject"] = Field(description="promote: the version becomes champion; reject: the champion stays")
    who: str = Field(min_length=1, max_length=200, pattern=NOT_EMPTY, description="your name; it is kept in the promotion journal")
    why: str = Field(min_length=1, max_length=2000, pattern=NOT_EMPTY, description="your reason; it is kept in the promotion journal and on the model card")


def promotion_form(assessed: Assessment) -> type[PromotionDecision]:
    """Return the form with the comparison in its description."""
    against = f"version {assessed.champion}, the champion" if assessed.champion else "base, since there is no champion"
    failed = [item["sentence"] for item in assessed.verdict["suites"] if not item["is_passed"]] if assessed.verdict else []
    warning = "\n\n**Promoting overrules the gate**, which did not pass: the journal keeps what was overruled." if failed else ""
    text = f"## {assessed.model} version {assessed.version} against {against}\n\n{gate_markdown(assessed.verdict, columns=FORM_COLUMNS)}{warning}"
    return PromotionDecision.with_initial_data(description=text)
