"""What a project tells Prometheus, read anew at each scrape from the files and tables a run leaves; nothing is counted in memory.

So the page is right whoever started the runs and however often this process is restarted. Times are Unix time stamps, as
Prometheus asks; `time() - quarkmed_last_success_timestamp_seconds` is an age. A part that cannot be read is left out and
counted in `quarkmed_unreadable_parts`.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from components.errors import QuarkmedError
from components.launch.gpu_hours import open_ledger
from components.pipeline.durations import read_durations
from components.registry.journal import Entry, open_journal
from components.settings.settings import load_settings
from components.tracking.addresses import has_journal
from flows.retention import log_bytes
from flows.run_folder import all_runs
from flows.run_states import AT_WORK, OUTCOMES, run_state
from flows.summary import SUMMARY, read_or

USED = (
    ("cpu_seconds", "quarkmed_stage_cpu_seconds", "processor time of a stage in the newest run in which it ran"),
    ("peak_bytes", "quarkmed_stage_peak_memory_bytes", "peak of a stage's memory in the newest run in which it ran"),
    ("watt_hours", "quarkmed_stage_watt_hours", "energy of a stage in the newest run in which it ran"),
)
SUMMARIES = 20  # read back for what stages used; of older runs nothing is shown


class ProjectCollector(Collector):
    """Reads a project's folder at each scrape."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that can be read."""
        unreadable = 0
        for part in PARTS:
            try:
                yield from list(part(self.root))
            except (QuarkmedError, SQLAlchemyError, OSError, ValueError, KeyError):
                unreadable += 1
        yield GaugeMetricFamily("quarkmed_unreadable_parts", "parts of this page that could not be read", value=unreadable)


def project_registry(root: Path) -> CollectorRegistry:
    """Return a registry with the project's metrics alone."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ProjectCollector(root))
    return registry


def run_metrics(root: Path) -> Iterator[Metric]:
    """Yield how the runs in runs/ ended, and when one last did well."""
    states = [run_state(folder) for folder in all_runs(root)]
    counts = GaugeMetricFamily("quarkmed_runs", "runs in runs/ by how they ended", labels=("outcome",))
    for outcome in OUTCOMES:
        counts.add_metric([outcome.replace(" ", "_")], sum(state.outcome == outcome for state in states))
    yield counts
    ended = [state for state in states if state.outcome != AT_WORK]
    if ended:
        yield GaugeMetricFamily("quarkmed_last_run_failed", "1 where the run that ended last failed or was killed", value=ended[-1].outcome in ("failed", "killed"))
        yield GaugeMetricFamily("quarkmed_last_run_timestamp_seconds", "when the newest run ended", value=ended[-1].ended)
    finished = [state.ended for state in states if state.outcome == "finished"]
    if finished:
        yield GaugeMetricFamily("quarkmed_last_success_timestamp_seconds", "when a run last finished", value=max(finished))


def stage_metrics(root: Path) -> Iterator[Metric]:
    """Yield what each stage took and used when it last ran."""
    seconds = GaugeMetricFamily("quarkmed_stage_seconds", "own work of a stage when it last ran whole", labels=("stage",))
    for name, value in read_durations(root).items():
        seconds.add_metric([name], value)
    yield seconds
    newest: dict[str, dict[str, Any]] = {}
    for folder in all_runs(root)[-SUMMARIES:]:
        newest |= {stage["name"]: stage["used"] for stage in read_or(folder / SUMMARY, {}).get("stages", []) if stage.get("used")}
    for key, name, meaning in USED:
        family = GaugeMetricFamily(name, meaning, labels=("stage",))
        for stage, used in newest.items():
            if used[key] is not None:
                family.add_metric([stage], used[key])
        yield family


def promotion_metrics(root: Path) -> Iterator[Metric]:
    """Yield the champion, and the promotions that wait."""
    model = load_settings(root / "params.yaml").system.model_name
    entries = open_journal(root).entries(model) if has_journal(root) else []
    champions = [entry for entry in entries if entry.kind == "COMMITTED"]
    if champions:
        version = GaugeMetricFamily("quarkmed_champion_version", "number of the version that is champion", labels=("model",))
        version.add_metric([model], float(champions[-1].version))
        yield version
        yield GaugeMetricFamily("quarkmed_last_promotion_timestamp_seconds", "when the champion became it", value=champions[-1].time)
    waiting = GaugeMetricFamily("quarkmed_open_promotions", "promotions that wait: prepared (begun) or held (for a person)", labels=("state",))
    since = GaugeMetricFamily("quarkmed_open_promotion_timestamp_seconds", "since when the oldest of them waits", labels=("state",))
    for state, found in {"prepared": open_preparations(entries), "held": held(entries)}.items():
        waiting.add_metric([state], len(found))
        if found:
            since.add_metric([state], min(entry.time for entry in found))
    yield from (waiting, since)


def open_preparations(entries: list[Entry]) -> list[Entry]:
    """Return the promotions that were begun and neither finished nor aborted."""
    closed = {entry.closes for entry in entries}
    return [entry for entry in entries if entry.kind == "PREPARED" and entry.sequence not in closed]


def held(entries: list[Entry]) -> list[Entry]:
    """Return the versions that passed the gate and wait for a person: nothing was decided on them, or promoted, since."""
    waiting = [entry for entry in entries if entry.kind == "HELD" and entry.action == "hold"]
    return [
        entry for entry in waiting
        if not any(later.sequence > entry.sequence and (later.version == entry.version or later.kind == "COMMITTED") for later in entries)
    ]  # fmt: skip


def machine_metrics(root: Path) -> Iterator[Metric]:
    """Yield the disk, the logs, and the GPU-hours of the ledger where there is one."""
    disk = shutil.disk_usage(root)
    yield GaugeMetricFamily("quarkmed_disk_free_bytes", "free on the project's disk", value=disk.free)
    yield GaugeMetricFamily("quarkmed_disk_size_bytes", "size of the project's disk", value=disk.total)
    yield GaugeMetricFamily("quarkmed_gpu_hours", "GPU-hours of all pods in the ledger", value=open_ledger(root).gpu_hours())
    yield GaugeMetricFamily("quarkmed_log_bytes", "logs of all runs", value=sum(log_bytes(folder) for folder in all_runs(root)))


PARTS: tuple[Callable[[Path], Iterator[Metric]], ...] = (run_metrics, stage_metrics, promotion_metrics, machine_metrics)
