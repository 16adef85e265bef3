"""JSON-lines files of recipes: what is read, and that a malformed line is named by file and number."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import DataError
from components.training.recipes.lines import read_conversations, read_pairs, read_prompts

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(min_size=1, max_size=20)
NAMES = st.sampled_from(["answer", "unit", "difficulty", "größe"])
COLUMNS = st.dictionaries(NAMES, st.one_of(TEXT, st.integers(), st.none(), st.lists(st.integers(), max_size=3)), max_size=3)
GARBAGE = ["{", "[1]", "3", '{"prompt": ""}', "{}", '{"prompt": "a", "messages": []}', '{"messages": [{"role": "user"}]}',
           '{"messages": [{"role": "assistant", "content": "x"}]}', '{"prompt": "a", "completions": 1}', '{"prompt": "a", "a b": 1}']  # fmt: skip


def write(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@QUICK
@given(st.lists(st.tuples(TEXT, COLUMNS), min_size=1, max_size=8))
def test_every_line_keeps_its_prompt_its_columns_and_its_place(tmp_path, items):
    path = write(tmp_path / "prompts.jsonl", [json.dumps({"prompt": prompt, **columns}) for prompt, columns in items])
    lines = read_prompts(path)
    assert [line.messages[-1].content for line in lines] == [prompt for prompt, _ in items]
    for number, (line, (_, columns)) in enumerate(zip(lines, items, strict=True), start=1):
        assert line.where == f"{path}:{number}"
        assert dict(line.columns) == columns | {"id": f"line-{number}", "task": "recipe"}


@QUICK
@given(st.integers(0, 6), st.integers(0, 6), st.sampled_from(GARBAGE))
def test_a_malformed_line_is_named_wherever_it_stands(tmp_path, before, after, garbage):
    good = '{"prompt": "what is gout?"}'
    path = write(tmp_path / "prompts.jsonl", [good] * before + [garbage] + [good] * after)
    with pytest.raises(DataError) as error:
        read_prompts(path)
    assert str(error.value).startswith(f"{path}:{before + 1}: ")


def test_ids_name_lines_once(tmp_path):
    path = write(tmp_path / "prompts.jsonl", ['{"prompt": "a", "id": "x"}', '{"prompt": "b"}', '{"prompt": "c", "id": "x"}'])
    with pytest.raises(DataError, match=r"prompts\.jsonl:3: the id 'x' stands in .*prompts\.jsonl:1 already"):
        read_prompts(path)


def test_an_empty_or_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no line"):
        read_prompts(write(tmp_path / "empty.jsonl", [""]))
    with pytest.raises(DataError, match=r"none\.jsonl: no such file; mend the recipe"):
        read_prompts(tmp_path / "none.jsonl")


def test_a_conversation_must_hold_something_to_learn(tmp_path):
    user = {"role": "user", "content": "q"}
    whole = json.dumps({"messages": [user, {"role": "assistant", "content": "a"}], "group": "g", "level": 2})
    (sample,) = read_conversations(write(tmp_path / "good.jsonl", [whole]))
    assert (sample.group, sample.level, sample.messages[1].content) == ("g", 2, "a")
    with pytest.raises(DataError, match=r"bad\.jsonl:2: \"messages\" holds no turn of the assistant"):
        read_conversations(write(tmp_path / "bad.jsonl", [whole, json.dumps({"messages": [user]})]))
    with pytest.raises(DataError, match=r"bad\.jsonl:1: tags: unknown key; known keys: group, id, level, messages, task"):
        read_conversations(write(tmp_path / "bad.jsonl", [json.dumps({"messages": [user], "tags": 1})]))


def test_a_pair_needs_two_different_answers(tmp_path):
    (pair,) = read_pairs(write(tmp_path / "pairs.jsonl", ['{"prompt": "q", "chosen": "a", "rejected": "b", "margin": 0.5}']))
    assert (pair.chosen, pair.rejected, pair.margin, pair.messages[0].content) == ("a", "b", 0.5, "q")
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: \"chosen\" and \"rejected\" are the same"):
        read_pairs(write(tmp_path / "pairs.jsonl", ['{"prompt": "q", "chosen": "a", "rejected": "a"}']))
