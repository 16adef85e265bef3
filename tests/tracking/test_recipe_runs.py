"""A recipe's run in MLflow: its record below a run of its own, once however often it is logged."""

from components.observing.sampler import UsageSampler
from components.recorder import Recorder
from components.tracking.recipe_runs import EndedRecipe, log_recipe
from components.tracking.tracking_store import experiment_id, open_client


def test_an_ended_recipe_is_logged_once_with_settings_digests_and_what_it_used(root, tmp_path):
    recorder = Recorder(tmp_path / "record")
    recorder.metrics({"loss": 2.0}, step=0)
    recorder.metrics({"loss": 1.0}, step=1)
    recorder.table("completions", [{"prompt": "a", "answer": "b"}])
    with UsageSampler(tmp_path / "record" / "usage.jsonl", period_seconds=5):
        recorder.summary({"loss": 1.0})
    (tmp_path / "recipe.yaml").write_text("kind: supervised\n")
    ended = EndedRecipe(
        name="doses", kind="supervised", key="0123456789abcdef" * 4, record=tmp_path / "record", file=tmp_path / "recipe.yaml",
        parameters={"seed": 20, "supervised": {"steps": 2}}, inputs={"/data/doses.jsonl": "d" * 64}, summary={"loss": 1.0},
    )  # fmt: skip
    assert log_recipe(root, ended) == log_recipe(root, ended) == "train-doses-01234567"
    client = open_client(root)
    runs = client.search_runs([experiment_id(client, root)], "tags.`quarkmed.run` = 'train-doses-01234567'")
    (below,) = client.search_runs([experiment_id(client, root)], f"tags.`quarkmed.stage_key` = '{ended.key}'")
    (run,) = runs
    assert (run.info.status, run.data.metrics["loss"], below.info.status) == ("FINISHED", 1.0, "FINISHED")
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["recipe.yaml"]
    assert below.data.tags["mlflow.parentRunId"] == run.info.run_id and below.data.params["supervised.steps"] == "2"
    assert [point.value for point in client.get_metric_history(below.info.run_id, "loss")] == [2.0, 1.0]
    assert "system/process_memory_megabytes" in below.data.metrics and float(below.data.tags["quarkmed.used.peak_bytes"]) > 0
    assert [item.dataset.name for item in below.inputs.dataset_inputs] == ["/data/doses.jsonl"]
    assert [item.path for item in client.list_artifacts(below.info.run_id)] == ["tables"]
