"""What an assessment, a decision or a repair leaves in the Prefect page. A page that cannot be written stops nothing."""

import contextlib
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from components.registry.assessment import Assessment
from components.registry.gate_table import COLUMNS, gate_markdown, gate_rows


def publish_assessment(assessed: Assessment) -> None:
    """Show the gate's table, its sentences and every suite's interval."""
    title = assessment_title(assessed)
    scores = [
        {"model": model, "suite": suite, "value": round(values["value"], 4), "low": round(values["low"], 4), "high": round(values["high"], 4), "items": values["n"]}
        for model, suites in assessed.metrics.items()
        for suite, values in suites.items()
    ]
    with contextlib.suppress(Exception):
        create_markdown_artifact(markdown=f"# {title}\n\n{gate_markdown(assessed.verdict)}", key="comparison", description=title)
        create_table_artifact(table=scores, key="scores", description="every suite with its interval")
        if assessed.verdict is not None:
            create_table_artifact(table=[dict(zip(COLUMNS, row, strict=True)) for row in gate_rows(assessed.verdict)], key="gate", description="the gate's table")


def publish_sentences(key: str, title: str, sentences: Sequence[str]) -> None:
    """Show what was done, a sentence each."""
    text = "\n".join(f"- {sentence}" for sentence in sentences) or "Nothing was open."
    with contextlib.suppress(Exception):
        create_markdown_artifact(markdown=f"**{title}**\n\n{text}", key=key, description=title)


def assessment_title(assessed: Assessment) -> str:
    """Return the heading of a comparison."""
    against = f"the champion, version {assessed.champion}" if assessed.champion else "base, since there is no champion"
    return f"{assessed.model} version {assessed.version} against {against}"
