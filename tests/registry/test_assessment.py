"""Assessments: the version against the champion, kept in MLflow once, no alias changed."""

import pytest

from components.errors import UserError
from components.registry.assessment import Assessment, assess_version
from components.registry.assessment_record import record_assessment
from components.registry.gate_table import gate_markdown
from components.tracking.tracking_store import open_client


def test_a_candidate_is_compared_with_the_champion_item_by_item(project):
    assessed = assess_version(project.root, "@challenger", score=project.score)
    assert (assessed.version, assessed.champion, assessed.verdict["compared_with"]) == ("2", "1", "champion")
    verified = next(item for item in assessed.verdict["suites"] if item["suite"] == "verified")
    assert (verified["candidate"], verified["against"], verified["difference"]) == (1.0, 0.5, 0.5)  # `rows` gives 6 of 6 and 3 of 6
    assert assessed.metrics["version 2"]["verified"]["value"] == 1.0 and assessed.metrics["champion"]["verified"]["value"] == 0.5
    assert Assessment(**assessed.as_dict()) == assessed


def test_the_champion_itself_has_no_verdict_but_its_numbers(project):
    assessed = assess_version(project.root, "@champion", score=project.score)
    assert assessed.verdict is None and assessed.metrics["version 1"]["verified"]["value"] == 0.5
    assert "nothing to compare" in gate_markdown(assessed.verdict)


def test_an_unknown_version_is_said(project):
    with pytest.raises(UserError, match="no version or alias '9'"):
        assess_version(project.root, "9", score=project.score)


def test_it_is_kept_in_mlflow_once_and_no_alias_changes(project):
    aliases, entries = project.aliases, project.journal.entries("quarkmed")
    assessed = assess_version(project.root, "2", score=project.score)
    run = record_assessment(project.root, assessed)
    assert record_assessment(project.root, assessed) == run
    client = open_client(project.root)
    found = client.get_run(run)
    assert found.info.status == "FINISHED" and found.data.metrics["verified.value"] == 1.0 and found.data.metrics["verified.n"] == 60
    assert found.data.tags["quarkmed.evaluated_version"] == "2" and found.data.tags["quarkmed.compared_with"] == "1"
    assert [item.path for item in client.list_artifacts(run)] == ["gate.md"]
    assert (project.aliases, project.journal.entries("quarkmed")) == (aliases, entries)
