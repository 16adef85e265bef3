"""Recipes: strict, with errors that name file, line, key and the nearest right key; and the table of their options."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from components.errors import SettingsError
from components.settings.explaining import section_class
from components.settings.options import LEFT_OUT, NOTES, options_table, recipe_options
from components.settings.recipes import RECIPES, PolicyRecipe, load_recipe

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "doses" / "recipe.yaml"


@pytest.fixture
def edited(tmp_path):
    def edit(old: str, new: str) -> Path:
        text = EXAMPLE.read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "recipe.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return edit


def test_the_shipped_example_is_ten_lines_and_its_paths_are_its_own_folders():
    assert len(EXAMPLE.read_text().splitlines()) == 10
    recipe = load_recipe(EXAMPLE)
    assert isinstance(recipe, PolicyRecipe)
    assert Path(recipe.data) == EXAMPLE.parent / "prompts.jsonl"
    assert [source.label for source in recipe.reward] == ["correct", "brief"]
    assert Path(recipe.reward[0].file) == EXAMPLE.parent / "reward.py"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: policy", "kind: polici", r"recipe\.yaml:1: kind: 'polici' is none; did you mean policy\?"),
        ("kind: policy\n", "", r"recipe\.yaml: kind: missing; kinds: policy, supervised, reward_model, preference"),
        ("data:", "dta:", r"recipe\.yaml:3: dta: unknown key; did you mean data\?"),
        ("  steps: 40", "  stps: 40", r"recipe\.yaml:7: policy\.stps: unknown key; did you mean policy\.steps\?"),
        ("learning_rate:", "learning_rat:", r"recipe\.yaml:10: policy\.optimiser\.learning_rat: unknown key; did you mean policy\.optimiser\.learning_rate\?"),
        ("prompts_per_step: 8", "prompts_per_step: 0", r"recipe\.yaml:8: policy\.prompts_per_step: Input should be greater than or equal to 1"),
        ('["reward.py:correct", "reward.py:brief"]', "reward.py", r"recipe\.yaml:5: reward\.0\.function: String should match"),
        ('["reward.py:correct", "reward.py:brief"]', '["reward.py:correct", "reward.py:correct"]', "two rewards have one name"),
        ('["reward.py:correct", "reward.py:brief"]', '[{function: "reward.py:f", wieght: 2}]', r"reward\.0\.wieght: unknown key; did you mean reward\.0\.weight\?"),
        ("kind: policy", "kind: policy\npass_rate: corect", "no reward is named 'corect'; rewards: correct, brief"),
        ("  steps: 40", "  steps: 40\n  reward_weights: {correct: 2.0}", "a weight stands beside its function"),
        ("policy:\n", "policy: [\n", r"recipe\.yaml:\d+: not valid YAML"),
    ],
)
def test_bad_recipes_name_line_and_key(edited, old, new, said):
    with pytest.raises(SettingsError, match=said):
        load_recipe(edited(old, new))


def test_every_number_has_a_unit_and_every_note_a_key():
    options = [option for table in recipe_options().values() for option in table]
    assert [option.key for option in options if option.unit == "?"] == []
    assert all(name in model.model_fields for model, name in NOTES)


def test_the_table_lists_every_key_of_every_section():
    def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            inner = section_class(field.annotation)
            if (model, name) not in LEFT_OUT:
                found |= keys(inner, f"{prefix}{name}.") if inner else {f"{prefix}{name}"}
        return found

    tables = recipe_options()
    common = {option.key for option in tables["every recipe"] if option.values != "section"}
    for kind, model in RECIPES.items():
        listed = common | {option.key for option in tables[kind] if option.values != "section"}
        assert listed == keys(model) - {"kind"}


def test_the_docs_show_the_table_of_the_classes():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert options_table() in page, "docs/training.md: the options are out of date; put the output of `quarkmed train --options` there"


def test_recipes_load_without_torch():
    code = "import sys, components.settings.options; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
