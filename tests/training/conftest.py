"""What several tests of the training loops share."""

import pytest

from components.recorder import Recorder


class ActingRecorder(Recorder):
    """Does something after the metrics of one step."""

    def __init__(self, folder, *, after, act):
        super().__init__(folder)
        self.after, self.act = after, act

    def metrics(self, values, *, step):
        super().metrics(values, step=step)
        if step == self.after:
            self.act()


@pytest.fixture
def acting_recorder():
    """Return the recorder's class: `acting_recorder(folder, after=step, act=function)`."""
    return ActingRecorder
