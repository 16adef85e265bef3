"""The compose file of a team's server: confined services on loopback, passwords from outside, each waited for until healthy."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra" / "compose" / "compose.yaml"
TEXT = FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"bucket"}  # ends when its work is done
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|AUTH|CONNECTION_URL|STORE_URI")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(:[?-])?([^}]*)\}")
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def test_the_parts_are_these():
    assert set(SERVICES) == {"postgres", "bucket", "object-store", "prefect", "mlflow", "worker", "metrics"}
    assert set(COMPOSE) <= {"name", "services", "networks", "volumes", "x-confined", "x-control"}


def test_every_variable_is_demanded_or_has_a_default():
    found = {(name, mark) for name, mark, _ in VARIABLE.findall(TEXT)}
    assert {name for name, mark in found if mark == ":-"} == {"PREFECT_PORT", "MLFLOW_PORT", "METRICS_PORT"}
    assert {name for name, mark in found if mark == ":?"} == {"POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "PREFECT_AUTH_STRING", "QUARKMED_PROJECT"}
    assert len({name for name, _ in found}) == len(found) == 8


@each_service
def test_no_secret_is_written_down(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert ":?" in value, f"{variable} is no variable that must be set"
            assert not re.search(r"://[^/\s:@]+:[^$@/]", value)


def test_the_file_of_passwords_is_ignored_by_git_and_by_images():
    assert "/infra/compose/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "**/.env" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


@each_service
def test_pages_listen_on_loopback_only(name):
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert SERVICES[name].get("network_mode") is None


@each_service
def test_services_are_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert re.fullmatch(r"[\w./-]+:(?!latest$)[\w.-]+", service["image"])


@each_service
def test_services_are_waited_for(name):
    service = SERVICES[name]
    assert ("healthcheck" in service) == (name not in ONCE)
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    for other, wait in service.get("depends_on", {}).items():
        assert wait["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")
        assert other in SERVICES


@each_service
def test_volumes_networks_and_builds_are_there(name):
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = re.split(r":(?=/)", volume)[0]
        assert source in COMPOSE["volumes"] or source.startswith("${QUARKMED_PROJECT:?") or (FILE.parent / source).is_file(), volume
    assert service["networks"] and set(service["networks"]) <= set(COMPOSE["networks"])
    if "build" in service:
        file = (FILE.parent / service["build"]["context"] / service["build"]["dockerfile"]).resolve()
        assert re.search(rf"^FROM \S+ AS {service['build']['target']}$", file.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_stores_are_not_reached_from_outside():
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if service["networks"] == ["stores"]} == {"postgres", "object-store", "bucket"}
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"prefect", "mlflow", "metrics"}


def test_the_page_of_metrics_cannot_change_the_project_it_reads():
    mounts = {name: [volume for volume in SERVICES[name]["volumes"] if ":/project" in volume] for name in ("worker", "metrics")}
    assert mounts["metrics"] == [f"{mounts['worker'][0]}:ro"]


def test_rclone_gets_its_pair_as_one_value():
    # it reads lists from variables as CSV; a pair without quotes is two values, and the server does not start
    pair = VARIABLE.sub("x", SERVICES["object-store"]["environment"]["RCLONE_AUTH_KEY"])
    assert pair == '"x,x"'


def test_the_worker_finds_the_promotion_journal_in_mlflows_database():
    worker, mlflow = (SERVICES[name] for name in ("worker", "mlflow"))
    assert worker["environment"]["MLFLOW_BACKEND_STORE_URI"] == mlflow["environment"]["MLFLOW_BACKEND_STORE_URI"]
    assert set(SERVICES["postgres"]["networks"]) <= set(worker["networks"])
