"""Pod settings are read strictly: versions named, memory that holds what is shared, unknown keys explained."""

import pytest

from components.errors import SettingsError
from components.settings.cluster import TrainerPodSettings, load_trainer_pods

DIGEST = "sha256:" + "0" * 64


def _refusal(tmp_path, text: str) -> str:
    path = tmp_path / "pods.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_trainer_pods(path)
    return str(refused.value)


@pytest.mark.parametrize("image", ["trainer", "trainer:latest", "registry:5000/team/trainer", "registry:5000/team/trainer:latest", "trainer@sha256:12"])
def test_an_image_without_a_version_is_refused(tmp_path, image):
    assert "names no version" in _refusal(tmp_path, f"image: {image}\ncpus: 1\nmemory_gibibytes: 4\n")


@pytest.mark.parametrize("image", ["trainer:0.1.0", "registry:5000/team/trainer:0.1.0", "trainer:latest-2", f"registry/trainer@{DIGEST}"])
def test_an_image_with_a_version_is_taken(image):
    assert TrainerPodSettings(image=image, cpus=1, memory_gibibytes=4).image == image


def test_shared_memory_must_leave_room(tmp_path):
    # /dev/shm counts against the container's limit: 4 of 4 GiB would leave none to the process
    assert "must be below it" in _refusal(tmp_path, "image: t:1\ncpus: 1\nmemory_gibibytes: 4\nshared_memory_gibibytes: 4\n")


def test_an_unknown_key_names_the_nearest(tmp_path):
    said = _refusal(tmp_path, "image: t:1\ncpus: 1\nmemory_gibibytes: 4\ngpu: 8\n")
    assert "pods.yaml:4: gpu: unknown key; did you mean gpus?" in said


def test_a_pod_without_gpus_runs_one_process():
    assert TrainerPodSettings(image="t:1", cpus=1, memory_gibibytes=4).processes == 1
    assert TrainerPodSettings(image="t:1", cpus=1, memory_gibibytes=4, gpus=8).processes == 8
