"""`quarkmed doctor`: one table over all parts, each line ok or what to do."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table


def doctor(root: Path, *, free_gib: float, as_json: bool, console: Console) -> bool:
    """Print every finding; return whether all are ok."""
    from flows.doctor_checks import all_findings

    findings = list(all_findings(root, free_gib=free_gib))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=1))
    else:
        table = Table("part", "", "found", "what to do", header_style="bold", pad_edge=False, box=None)
        for finding in findings:
            table.add_row(finding.part, "[green]ok[/]" if finding.is_ok else "[red]not ok[/]", finding.says.replace("[", "\\["), finding.to_do.replace("[", "\\["))
        console.print(table)
    return all(finding.is_ok for finding in findings)
