"""The model card: what a version is, what it was made from and at what cost, how it was judged, where it fails, who let it in.

Markdown made from records alone (`card_content.py` collects them); what no record holds is said to be unknown.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.registry.gate_table import gate_markdown

NOTICE = (
    "A research model trained on synthetic sources about a subset of common diseases. It is not a medical device and "
    "must not be used for the care of patients. Intervals do not cover the spread over training seeds."
)
OWN_NOTICE = (
    "A research model trained on sources of its user's own. It is not a medical device and must not be used for the care of "
    "patients. Intervals do not cover the spread over training seeds."
)


@dataclass(frozen=True)
class Decision:
    """What became of a version; `time` in seconds since the epoch."""

    word: str
    who: str
    why: str
    run: str
    time: float


@dataclass(frozen=True)
class CardContent:
    """What a card says.

    `lineage` is label → value (commit, run, profile, checksum), `data` path → DVC digest, `licences` and `costs` label →
    sentence, `recipe` section → values, `verdict` is `GateVerdict.as_dict()` with "weakest".
    """

    model: str
    version: str
    lineage: Mapping[str, str]
    data: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, str] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    decisions: Sequence[Decision] = ()
    has_own_sources: bool = False


def model_card(content: CardContent) -> str:
    """Return the card of a version, whole."""
    lines = [f"# {content.model} version {content.version}", "", OWN_NOTICE if content.has_own_sources else NOTICE]
    lines += _decisions(content.decisions)
    lines += _gate(content.verdict)
    lines += _table("Made from", ("what", "which"), content.lineage)
    lines += _table("Data versions (DVC digests)", ("path", "digest"), content.data)
    lines += _table("Licences of the data", ("data", "licence"), content.licences, is_code=False)
    lines += _table("Recipe", ("section", "values"), content.recipe)
    lines += _table("What it cost", ("what", "how much"), content.costs, is_code=False)
    return "\n".join(lines) + "\n"


def short_card(card: str, *, maximum: int) -> str:
    """Return the card cut at a section so that it fits, with a word on where the rest is; itself where it fits."""
    if len(card) <= maximum:
        return card
    rest = "\n\nThe rest stands in model_card.md, an artifact of this version's run (`quarkmed card`).\n"
    head = card[: maximum - len(rest)]
    end = head.rfind("\n\n## ")
    return (head[:end] if end > 0 else head[: head.rfind("\n")]) + rest


def _decisions(decisions: Sequence[Decision]) -> list[str]:
    if not decisions:
        return []
    lines = ["", "## Decision", ""]
    for item in decisions:
        moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(item.time))
        run = f", run {item.run}" if item.run else ""
        lines.append(f"- {moment}: {item.word} by {item.who}{run}{f': {item.why}' if item.why else ''}")
    return lines


def _gate(verdict: Mapping[str, Any] | None) -> list[str]:
    if verdict is None:
        return ["", "## Gate", "", "Not judged yet."]
    lines = ["", f"## Gate (against {verdict['compared_with']})", "", gate_markdown(verdict)]
    weakest = verdict.get("weakest", [])
    if weakest:
        lines += ["", "## Known failures", "", "The tasks of the held-out cases with the lowest scores:", ""]
        lines += ["| suite | task | score | interval | cases | no answer read |", "|---|---|---:|---|---:|---:|"]
        lines += [
            f"| {item['suite']} | {item['task']} | {item['value']:.3f} | [{item['low']:.3f}, {item['high']:.3f}] | {item['n']} | {item['abstained'] * 100:.0f} % |"
            for item in weakest
        ]
    return lines


def _table(title: str, columns: tuple[str, str], rows: Mapping[str, str], *, is_code: bool = True) -> list[str]:
    if not rows:
        return []
    mark = "`" if is_code else ""
    return ["", f"## {title}", "", f"| {columns[0]} | {columns[1]} |", "|---|---|", *(f"| {name} | {mark}{value}{mark} |" for name, value in sorted(rows.items()))]
