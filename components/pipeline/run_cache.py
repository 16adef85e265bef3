"""Every stage that was ever committed here, read from DVC's run cache (`<cache>/runs/`) without importing DVC.

dvc.lock and the kept runs name what stands, or stood at a run's end; an attempt that was overtaken is only here.
"""

from pathlib import Path

import yaml

from components.pipeline.dvc_cache import cache_folder
from components.pipeline.locked_graph import LockedStage, parse_stage

COMMAND = "quarkmed stage "


def committed_stages(root: Path) -> list[LockedStage]:
    """Return the stages of the run cache; an entry that is torn or of another program is left out."""
    loader, stages = getattr(yaml, "CSafeLoader", yaml.SafeLoader), []
    for path in sorted((cache_folder(root) / "runs").glob("*/*/*")):
        try:
            row = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
            command = str(row["cmd"])
            if command.startswith(COMMAND):
                stages.append(parse_stage(command.removeprefix(COMMAND).strip(), row))
        except (yaml.YAMLError, UnicodeDecodeError, OSError, AttributeError, KeyError, TypeError):
            continue
    return stages
