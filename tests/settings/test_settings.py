"""params.yaml: strict, with errors that name file, line, key and the nearest right key."""

from pathlib import Path

import pytest

from components.errors import SettingsError
from components.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"


@pytest.fixture
def edited(tmp_path):
    def edit(old: str, new: str) -> Path:
        text = PARAMS.read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "params.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return edit


def test_the_shipped_parameters_are_valid():
    assert load_settings(PARAMS).run.threads >= 1


def test_a_mistyped_key_names_its_line_and_the_nearest_key(edited):
    path = edited("  diseases:", "  diseasees:")
    line = path.read_text().splitlines().index(next(row for row in path.read_text().splitlines() if "diseasees" in row)) + 1
    with pytest.raises(SettingsError, match=rf"params\.yaml:{line}: sources\.diseasees: unknown key; did you mean sources\.diseases\?"):
        load_settings(path)


def test_a_value_out_of_range_names_its_key(edited):
    with pytest.raises(SettingsError, match=r"curate\.near_duplicate_similarity.*less than or equal to 1"):
        load_settings(edited("near_duplicate_similarity: 0.7", "near_duplicate_similarity: 7"))


def test_broken_yaml_names_its_line(edited):
    with pytest.raises(SettingsError, match=r"params\.yaml:\d+: not valid YAML"):
        load_settings(edited("run:\n", "run: [\n"))


def test_overrides_come_last_and_are_validated():
    assert load_settings(PARAMS, overrides={"ift.steps": 7}).ift.steps == 7
    with pytest.raises(SettingsError, match=r"did you mean ift\.steps"):
        load_settings(PARAMS, overrides={"ift.stps": 7})


def test_policy_settings_that_cannot_work_are_refused():
    with pytest.raises(SettingsError, match=r"overlong_buffer \(60\) must not be above max_new_tokens \(48\)"):
        load_settings(PARAMS, overrides={"grpo_reasoning.overlong_buffer": 60})
    with pytest.raises(SettingsError, match=r"grpo_reasoning\.scale_advantages.*'group', 'batch' or 'none'"):
        load_settings(PARAMS, overrides={"grpo_reasoning.scale_advantages": True})


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(tmp_path / "params.yaml")


def test_databases_are_named_without_a_password_and_none_is_repeated():
    address = "postgresql+asyncpg://quarkmed@db:5432/prefect"
    assert load_settings(PARAMS, overrides={"system.prefect_database": address}).system.prefect_database == address
    with pytest.raises(SettingsError, match=r"system\.mlflow_database: .*must begin with postgresql://, or be empty"):
        load_settings(PARAMS, overrides={"system.mlflow_database": address})
    for wrong in ("postgresql://quarkmed:word@db:5432/mlflow", "postgresql://db/mlflow?user=quarkmed&password=word"):
        with pytest.raises(SettingsError, match=r"system\.mlflow_database: .*must hold no password: put it into ~/\.pgpass") as refused:
            load_settings(PARAMS, overrides={"system.mlflow_database": wrong})
        assert "word@" not in str(refused.value) and "=word" not in str(refused.value)
