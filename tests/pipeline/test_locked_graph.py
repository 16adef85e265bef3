"""dvc.lock as a graph: makers before users, whatever order the file has."""

import pytest

from components.errors import StorageError
from components.pipeline.locked_graph import DataVersion, read_lock

LOCK = """
stages:
  use:
    deps: [{path: data/a/rows.jsonl, md5: aa}, {path: components/x, md5: c0.dir}]
    outs: [{path: models/m.json, md5: mm, size: 3}]
    params: {params.yaml: {run: {seed: 1}}}
  aside:
    outs: [{path: data/b, md5: bb.dir}]
  make:
    outs: [{path: data/a, md5: dd.dir, size: 9, nfiles: 2}]
"""


def test_a_path_leads_to_the_stages_it_was_made_by_in_order():
    graph = read_lock(LOCK, name="dvc.lock")
    assert [stage.name for stage in graph.upstream("models/m.json")] == ["make", "use"]
    assert graph.upstream("models/other.json") == ()
    assert [stage.name for stage in graph.ordered] == ["make", "use", "aside"]
    assert graph.maker("data/a/rows.jsonl").outputs == (DataVersion("data/a", "dd.dir", 9, 2),)
    assert graph.upstream("models/m.json")[1].parameters == {"run": {"seed": 1}}
    assert [item.is_code for item in graph.upstream("models/m.json")[1].inputs] == [False, True]


@pytest.mark.parametrize("text", ["stages: [", "stages: {make: {outs: [{md5: aa}]}}", "stages: 7"])
def test_a_torn_lock_is_one_message(text):
    with pytest.raises(StorageError, match=r"here/dvc\.lock: not a dvc\.lock"):
        read_lock(text, name="here/dvc.lock")


def test_stages_in_a_circle_end():
    graph = read_lock("stages: {a: {deps: [{path: y, md5: '1'}], outs: [{path: x, md5: '2'}]}, b: {deps: [{path: x, md5: '2'}], outs: [{path: y, md5: '1'}]}}", name="l")
    assert {stage.name for stage in graph.upstream("x")} == {"a", "b"}
