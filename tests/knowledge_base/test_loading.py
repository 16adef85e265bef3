"""Loading the knowledge base: what ships is sound, and every mistake is named by file and line."""

import shutil
from pathlib import Path

import pytest

from components.errors import DataError
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.validation import check_codes, confusable_pairs, one_sided_treatments

FOLDER = Path(__file__).parents[2] / "data" / "knowledge_base"


@pytest.fixture(scope="module")
def shipped():
    return load_knowledge_base(FOLDER)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "kb")
    return tmp_path / "kb"


def _edit(path: Path, old: str, new: str) -> int:
    """Replace the first occurrence and return its 1-based line."""
    text = path.read_text(encoding="utf-8")
    place = text.index(old)
    path.write_text(text[:place] + new + text[place + len(old) :], encoding="utf-8")
    return text[:place].count("\n") + 1


def test_the_shipped_knowledge_base_is_as_large_as_promised(shipped):
    assert len(shipped.diseases) >= 150
    assert len(shipped.drugs) >= 200
    assert len(shipped.tests) >= 120


def test_every_code_is_valid_and_used_once(shipped):
    check_codes(shipped, FOLDER)
    assert len({disease.icd10 for disease in shipped.diseases.values()}) == len(shipped.diseases)


def test_every_first_line_drug_names_its_disease_as_an_indication(shipped):
    assert one_sided_treatments(shipped) == []


def test_no_two_diseases_share_more_than_half_of_their_features(shipped):
    assert confusable_pairs(shipped) == []


def test_no_feature_gives_the_disease_away(shipped):
    for disease in shipped.diseases.values():
        for feature in (*disease.symptoms, *disease.findings):
            assert disease.name.casefold() not in feature.casefold(), (disease.id, feature)


def test_names_are_unique_within_each_kind(shipped):
    for table in (shipped.diseases, shipped.drugs, shipped.tests):
        names = [entry.name.casefold() for entry in table.values()]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("diseases_1.yaml", "  prevalence:", "  prevalance:", "prevalance: Extra inputs"),
        ("diseases_1.yaml", "  sex: any", "  sex: both", "sex: Input should be"),
        ("diseases_1.yaml", "first_line_drugs: [amoxicillin", "first_line_drugs: [amoxicilin", "names 'amoxicilin', which no file defines"),
        ("diseases_1.yaml", "icd10: J18.9", "icd10: J18-9", "icd10: String should match"),
        ("drugs_1.yaml", "  adult_dose: {low: 250, high: 1000", "  adult_dose: {low: 2500, high: 1000", "low 2500 is above high 1000"),
        ("drugs_1.yaml", "{with: methotrexate", "{with: nothing_known", "interactions names 'nothing_known'"),
        ("tests_1.yaml", "keywords: [C-reactive protein", "keywords: [FBC", "keyword 'FBC' belongs to full_blood_count"),
        ("tests_1.yaml", "  kind: laboratory", "  kind: laboratory\n  kind: imaging", "key 'kind' stands twice"),
        ("tests_1.yaml", "  shows: [", "  shows: [[", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_file_and_line(copy, file, old, new, expected):
    line = _edit(copy / file, old, new)
    with pytest.raises(DataError) as caught:
        load_knowledge_base(copy)
    message = str(caught.value)
    assert expected in message
    found = int(message.split(f"{file}:")[1].split(":")[0])
    # a repeated key is reported where it is repeated, broken YAML where the parser noticed, an interaction at its key
    assert (
        line - ("interactions" in expected)
        <= found
        <= line + (1 if "twice" in expected else 4 if "YAML" in expected else 0)
    )


def test_an_id_used_twice_names_both_places(copy):
    text = (copy / "diseases_2.yaml").read_text(encoding="utf-8")
    (copy / "diseases_2.yaml").write_text(text.replace("- id: type_1_diabetes", "- id: asthma", 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"diseases_2\.yaml:1: id 'asthma' is taken by .*diseases_1\.yaml:\d+"):
        load_knowledge_base(copy)


def test_an_invented_code_is_refused_with_its_line(copy):
    line = _edit(copy / "diseases_1.yaml", "icd10: J18.9", "icd10: U99.9")
    with pytest.raises(DataError, match=rf"diseases_1\.yaml:{line}: .*'U99\.9' is no ICD-10 code"):
        check_codes(load_knowledge_base(copy), copy)


def test_a_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load_knowledge_base(tmp_path / "nowhere")
