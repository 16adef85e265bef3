"""The scrape configuration and the alerts: whole, on loopback, and of metrics that are on the page."""

import re
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"
PAGE = (FOLDER.parents[1] / "flows" / "metrics_page.py").read_text(encoding="utf-8")
CONFIG = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
NAME = re.compile(r"\b(quarkmed_[a-z_]+)")
DURATION = re.compile(r"\d+[smhd]")


def test_only_loopback_is_scraped_and_the_rules_are_read():
    targets = [target for job in CONFIG["scrape_configs"] for item in job["static_configs"] for target in item["targets"]]
    assert targets == ["127.0.0.1:9217", "127.0.0.1:4217"]
    assert [(FOLDER / name).is_file() for name in CONFIG["rule_files"]] == [True]
    assert {job["job_name"] for job in CONFIG["scrape_configs"]} >= set(re.findall(r'job="(\w+)"', str(RULES)))


def test_the_ports_are_those_of_the_settings():
    from components.settings.settings import load_settings

    system = load_settings(FOLDER.parents[1] / "params.yaml").system
    assert (system.metrics_port, system.prefect_port) == (9217, 4217)


def test_a_person_hears_of_what_goes_wrong_at_night():
    assert {rule["alert"] for rule in RULES} >= {"RetrainFailed", "PromotionHeld", "DiskLow", "NoSuccessfulRetrain"}
    assert "> 86400" in next(rule["expr"] for rule in RULES if rule["alert"] == "PromotionHeld")  # a day


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_of_the_page_and_says_what_to_do(rule):
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    named = NAME.findall(rule["expr"])
    assert named and all(f'"{name}"' in PAGE for name in named)
    assert DURATION.fullmatch(rule["for"]) and rule["labels"]["severity"] in ("page", "warning")
    assert set(rule["annotations"]) == {"summary", "description"} and all(rule["annotations"].values())
    assert rule["expr"].count("(") == rule["expr"].count(")") and rule["expr"].count("{") == rule["expr"].count("}")
