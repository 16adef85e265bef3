"""What `quarkmed doctor` looks at, one function a part: each returns findings and changes nothing.

A finding that is not ok says what to do. What is merely absent (servers down, no version yet, no GPU) is ok and said.
"""

import importlib.metadata
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.errors import QuarkmedError
from components.settings.settings import load_settings

LOCK = "requirements.lock"
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")
NAMED = 3  # of many alike, how many a line names
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    part: str
    is_ok: bool
    says: str
    to_do: str = ""


def check_versions(root: Path) -> Iterator[Finding]:
    """Compare what is installed with requirements.lock."""
    if not (root / LOCK).is_file():
        yield Finding("versions", False, f"{LOCK} is missing", "check the file out of git")
        return
    pins = [match.groups() for line in (root / LOCK).read_text(encoding="utf-8").splitlines() if (match := PIN.match(line))]
    wrong = []
    for name, wanted in pins:
        try:
            found = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted.partition("+")[0]:
            wrong.append(f"{name} {found}, locked {wanted}")
    yield Finding("versions", not wrong, f"{len(pins) - len(wrong)} of {len(pins)} packages as locked{_named(wrong)}", "" if not wrong else "run `make setup`")


def check_git(root: Path) -> Iterator[Finding]:
    """Say whether runs can be kept under refs/quarkmed/runs."""
    from components.pipeline.kept_runs import kept_runs
    from components.pipeline.run_reference import head_commit

    commit = head_commit(root)
    if commit is None:
        yield Finding("git", False, "no commit here, so runs are kept in runs/ only", "install git and commit the project, so that a version can be explained later")
        return
    yield Finding("git", True, f"at {commit[:12]}; {len(kept_runs(root))} runs kept")


def check_services(root: Path) -> Iterator[Finding]:
    """Say whether each server is up, down, or something between."""
    from flows.service_commands import all_services
    from flows.services import is_healthy, is_port_taken, running

    for service in all_services(root):
        if running(root, service) is None:
            is_taken = bool(service.port) and is_port_taken(service.port)
            to_do = f"stop the program on port {service.port}, or set {service.setting} in params.yaml to a free port" if is_taken else ""
            yield Finding(service.name, not is_taken, f"down; port {service.port} is taken by another program" if is_taken else "down (`quarkmed up` starts it)", to_do)
        elif is_healthy(service):
            yield Finding(service.name, True, f"up at {service.address}" if service.address else "up")
        else:
            yield Finding(service.name, False, f"started, but {service.address or 'it'} does not answer", "run `quarkmed down`, then `quarkmed up`; its log is in var/services/")


def check_registry(root: Path) -> Iterator[Finding]:
    """Look for versions whose source or whose model's bytes are gone, and for aliases the journal denies."""
    from components.provenance.registry_health import (
        alias_disagreement,
        dangling_versions,
        open_promotion,
        unended_runs,
    )
    from components.tracking.addresses import is_made

    if not is_made(root):
        yield Finding("registry", True, "no version registered yet")
        return
    versions, dangling = dangling_versions(root)
    yield Finding("registry", not dangling, f"{versions} versions{_named(dangling)}", "run `quarkmed retrain` at their commits (`quarkmed explain`), or delete them in MLflow" if dangling else "")
    pending = open_promotion(root)
    yield Finding("promotion", pending is None, pending or "none open", "run `quarkmed reconcile`, which finishes or aborts it" if pending else "")
    unended = [] if _owner(root) is not None else [f"{run} stands as running, and none is" for run in unended_runs(root)]
    yield Finding("MLflow", not unended, "no run left open" if not unended else "; ".join(unended[:NAMED]), "they were killed: run `quarkmed reconcile`, which closes them" if unended else "")
    wrong = alias_disagreement(root)
    yield Finding("champion", wrong is None, wrong or "alias and journal agree", "run `quarkmed reconcile`, which sets the alias right" if wrong else "")


def check_data(root: Path) -> Iterator[Finding]:
    """Look for data versions of dvc.lock that DVC's cache lacks, for models the store lacks, and for damaged indexes of ids."""
    from components.provenance.data_health import missing_models, missing_objects, unsound_indexes

    objects, gone = missing_objects(root)
    yield Finding("data", not gone, f"{objects} objects of dvc.lock in DVC's cache{_named(gone)}", "run `dvc pull`, or `make retrain`, which makes them again" if gone else "")
    models, lost = missing_models(root)
    yield Finding("models", not lost, f"{models} models in the store{_named(lost)}", "run `make retrain`, which makes them again" if lost else "")
    indexes, bad = unsound_indexes(root)
    yield Finding("ids", not bad, f"{indexes} data versions indexed for `who-used`{_named(bad)}", "ask `quarkmed who-used` anything: it mends them" if bad else "")


def check_withdrawals(root: Path) -> Iterator[Finding]:
    """Look for a purge that was interrupted, and for withdrawn ids that other clones do not know of yet."""
    from components.curation.withdrawn import withdrawn_ids
    from components.layout import WITHDRAWN
    from components.pipeline.run_reference import head_commit, run_git
    from components.provenance.purge_journal import PurgeJournal

    count = len(withdrawn_ids(root / WITHDRAWN)) if (root / WITHDRAWN).is_file() else 0
    unended = [purge for purge in PurgeJournal(root).purges() if not purge.is_ended]
    if unended:
        yield Finding("withdrawn", False, f"purge {unended[0].number} was interrupted, {len(unended[0].left)} copies are left", f"run `quarkmed forget {unended[0].ids[0]} --purge`: it goes on")
    elif head_commit(root) and run_git(root, "status", "--porcelain", "--", WITHDRAWN):
        yield Finding("withdrawn", False, f"{count} ids, and {WITHDRAWN} is not committed", f"commit {WITHDRAWN}: clones and scheduled runs do not know of it yet")
    else:
        yield Finding("withdrawn", True, f"{count} ids")


def check_runs(root: Path) -> Iterator[Finding]:
    """Look for runs that were killed and that no later one closed, and at what the newest ended with."""
    from flows.run_folder import all_runs
    from flows.run_states import AT_WORK, KILLED, run_state

    owner, states = _owner(root), [run_state(folder) for folder in all_runs(root)]
    killed = [f"{state.run} was killed{f' in stage {state.stage}' if state.stage else ''}" for state in states if state.outcome == KILLED and not state.is_closed]
    at_work = [state.run for state in states if state.outcome == AT_WORK]
    word = f"a retrain is at work (process {owner})" if owner is not None else f"{', '.join(at_work)} at work" if at_work else "none at work"
    yield Finding("runs", not killed, f"{len(states)} runs, {word}{_named(killed)}", "run `make retrain`: it closes them and goes on from the last checkpoint; `quarkmed reconcile` only closes them" if killed else "")
    if states and states[-1].outcome in ("failed", "stopped"):
        yield Finding("newest run", False, f"{states[-1].run} {states[-1].words}", "mend what it names, then run `make retrain`: it goes on from what was saved")


def check_logs(root: Path) -> Iterator[Finding]:
    """Say what the logs of all runs take."""
    from flows.retention import MEBIBYTE, log_bytes
    from flows.run_folder import all_runs

    limit, sizes = load_settings(root / "params.yaml").system.kept_logs_mib, [log_bytes(folder) for folder in all_runs(root)]
    total = sum(sizes) / MEBIBYTE
    to_do = "the next run that finishes removes the oldest; lower system.kept_logs_mib, or remove runs/*/logs by hand"
    yield Finding("logs", total <= limit, f"{total:.1f} MiB in {len(sizes)} runs, of {limit:g} at most", "" if total <= limit else to_do)


def check_prefect_runs(root: Path) -> Iterator[Finding]:
    """Compare what Prefect has as running with what runs."""
    from flows.prefect_states import claimed_runs
    from flows.run_folder import all_runs
    from flows.run_states import AT_WORK, run_state

    claimed = claimed_runs(root)
    if claimed is None:
        yield Finding("Prefect", True, "has no database yet")
        return
    at_work = sum(run_state(folder).outcome == AT_WORK for folder in all_runs(root))
    lost = claimed if at_work == 0 and _owner(root) is None else 0
    says = f"{claimed} runs stand as running{', and none is' if lost else ''}" if claimed else "no run left open"
    yield Finding("Prefect", not lost, says, "they were killed: run `quarkmed reconcile`, which closes them" if lost else "")


def check_cluster(root: Path) -> Iterator[Finding]:
    """Where stages are sent to a cluster: does its API answer, are its pods' settings sound, and may this account do what jobs need."""
    launch = load_settings(root / "params.yaml").launch
    if not launch.uses("kubernetes"):
        return
    from components.launch.kubernetes_api import open_api
    from components.launch.kubernetes_backend import folder_of_pods
    from components.launch.kubernetes_kinds import KINDS
    from components.launch.kubernetes_rights import missing_rights
    from components.settings.cluster import load_trainer_pods

    load_trainer_pods(launch.cluster.pods)
    folder_of_pods(root, launch.cluster.mount)
    api = open_api(launch.cluster.address)
    missing = missing_rights(api, launch.cluster.namespace, kind=launch.cluster.kind)
    if not missing:
        KINDS[launch.cluster.kind](api, launch.cluster.namespace).check()
    says = f"{api.address} answers; namespace {launch.cluster.namespace}{_named([f'may not {right}' for right in missing])}"
    yield Finding("cluster", not missing, says, "apply infra/kubernetes/base/worker-rights.yaml (for JobSets infra/kubernetes/components/jobset too), or run as the worker's account" if missing else "")


def check_machine(root: Path, *, free_gib: float) -> Iterator[Finding]:
    """Look at the free disk and at the GPU."""
    free = shutil.disk_usage(root).free / GIB
    yield Finding("disk", free >= free_gib, f"{free:.1f} GiB free", "" if free >= free_gib else f"free the disk: below {free_gib:g} GiB a checkpoint may fail")
    import torch

    has_driver = shutil.which("nvidia-smi") is not None
    if torch.cuda.is_available():
        from components.modeling.compiled import NO_COMPILER, has_compiler

        says = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
        yield Finding("GPU", has_compiler(), says if has_compiler() else f"{says}; {NO_COMPILER}", "" if has_compiler() else "install gcc and Python's headers (Debian: python3-dev)")
    else:
        yield Finding("GPU", not has_driver, "a driver is installed, but torch sees no GPU" if has_driver else "none: everything runs on the processor", "install torch for CUDA" if has_driver else "")


def all_findings(root: Path, *, free_gib: float) -> Iterator[Finding]:
    """Yield every part's findings; a check that fails itself is a finding."""
    from flows.doctor_connections import check_databases, check_store

    load_settings(root / "params.yaml")
    for name, check in {**CHECKS, "store": check_store, "database": check_databases}.items():
        try:
            yield from check(root)
        except QuarkmedError as error:
            yield Finding(name, False, str(error), "see the message")
    yield from check_machine(root, free_gib=free_gib)


def _owner(root: Path) -> int | None:
    """Return the process of the `retrain` at work here, or None; makes no lock file."""
    from flows.run_folder import running_process

    return running_process(root) if (root / "var" / "retrain.lock").is_file() else None


def _named(items: list[str]) -> str:
    rest = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return f"; {'; '.join(items[:NAMED])}{rest}" if items else ""


CHECKS = {
    "versions": check_versions, "git": check_git, "services": check_services, "registry": check_registry, "data": check_data,
    "withdrawn": check_withdrawals, "runs": check_runs, "logs": check_logs, "prefect": check_prefect_runs, "cluster": check_cluster,
}  # fmt: skip
