"""A process beside the one that writes reads its checkpoints and leaves them alone."""

from components.storage.checkpoints import CheckpointFolder
from components.storage.read_checkpoints import ReadCheckpoints


def test_a_follower_reads_checkpoints_and_writes_none(tmp_path):
    main, follower = CheckpointFolder(tmp_path, key="k"), ReadCheckpoints(tmp_path, key="k")
    follower.child("a").save(1, tensors={}, state={})
    assert main.child("a").latest() == (None, [])
    main.child("a").save(2, tensors={}, state={"x": 1})
    follower.child("a").clear()
    checkpoint, _ = follower.child("a").latest()
    assert checkpoint is not None and checkpoint.state == {"x": 1}
