"""`quarkmed who-used`: which model versions saw a data version or an id, in which stage and output; tables or JSON."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from components.errors import UserError
from flows.tables import print_table

TRAINED = ("trained", "perhaps", "unknown")


def who_used(root: Path, asked: str, *, as_json: bool, console: Console) -> None:
    """Print who saw it."""
    from components.provenance.usage import who_used as find_usage
    from components.provenance.withdrawal_notes import withdrawal_notes

    started, notes = time.monotonic(), withdrawal_notes(root, asked)
    try:
        answer = find_usage(root, asked)
    except UserError:
        if not notes:
            raise
        answer = None  # withdrawn, and no data version that can be read holds it
    if as_json:
        print(json.dumps({**(answer or {"asked": asked}), "withdrawal": notes}, ensure_ascii=False, indent=1))
        return
    for words in notes:
        console.print(f"{asked}: {words}", highlight=False, markup=False, soft_wrap=True)
    if answer is None:
        console.print(f"{asked}: no data version that can be read holds it now", highlight=False, markup=False)
    else:
        print_usage(answer, console=console)
    console.print(f"answered in {time.monotonic() - started:.1f} s", highlight=False)


def print_usage(answer: Mapping[str, Any], *, console: Console) -> None:
    """Print an answer: the verdict, who saw it, where it stands, what cannot be told."""
    what = f"data version {answer['md5']}" if answer["md5"] else answer["asked"]
    for sentence in verdict(answer):
        console.print(f"{what}: {sentence}", highlight=False, markup=False, soft_wrap=True)
    for holder in answer["holders"]:
        _print_holder(holder, console)
    rows = [
        (item["path"], item["md5"], item["maker"], str(item["rows"]), ", ".join(item["kinds"]), _some(item["own"], item["rows"]), ", ".join(item["in_lineage_of"]))
        for item in answer["stands"]
    ]
    print_table(console, "stands in", ("file", "DVC md5", "made by", "rows", "as", "ids", "in the lineage of"), rows)
    if answer["cannot_tell"]:
        console.print("\ncannot tell", style="bold underline")
    for words in answer["cannot_tell"]:
        console.print(f"  {words}", highlight=False, markup=False, soft_wrap=True)
    for path in answer["index"]["mended"]:
        console.print(f"note: the index of {path} was damaged and was made again", highlight=False, markup=False)


def verdict(answer: Mapping[str, Any]) -> list[str]:
    """Return the answer in sentences."""
    trained = [_named(holder) for holder in answer["holders"] if set(holder["effects"].values()) & set(TRAINED)]
    other = [_named(holder) for holder in answer["holders"] if holder["effects"] and not set(holder["effects"].values()) & set(TRAINED)]
    sentences = []
    if trained:
        sentences.append(f"in what {', '.join(trained)} was trained on")
    if other:
        sentences.append(f"not trained on, but used, by {', '.join(other)}")
    if answer["rejected_by"]:
        sentences.append(f"refused by the filter {', '.join(answer['rejected_by'])} of curate")
    return sentences or ["no model saw it"]


def _print_holder(holder: Mapping[str, Any], console: Console) -> None:
    if not holder["sightings"]:
        console.print(f"\n{_named(holder)}: saw nothing of it", style="bold", highlight=False)
        return
    rows = [
        (item["stage"], ", ".join(item["models"]) or "–", item["effect"], item["words"], item["path"], str(item["rows"])) for item in holder["sightings"]
    ]
    print_table(console, _named(holder), ("stage", "model", "effect", "how", "file", "rows"), rows)


def _named(holder: Mapping[str, Any]) -> str:
    return f"{holder['name']}{' (' + ', '.join(holder['aliases']) + ')' if holder['aliases'] else ''}"


def _some(own: list[str], rows: int) -> str:
    return ", ".join(own) + (f" and {rows - len(own)} more" if own and rows > len(own) else "")
