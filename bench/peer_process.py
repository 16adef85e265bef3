"""A peer at work: its script in its own environment, asked for one measurement at a time.

Both sides stand idle while the other is measured, so that every second counted had the machine to itself.
"""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from components.errors import UserError
from components.launch.stage_environment import LARGE_PAGES, TUNABLES
from components.storage.files import write_json

SCRIPTS = Path(__file__).parent / "peers"


class PeerProcess:
    """A context manager; `ready` holds what the peer said of itself before the first turn."""

    def __init__(self, script: str, job: dict[str, Any], *, python: Path, folder: Path, threads: int) -> None:
        """Args: script: name in bench/peers; folder: for the job's file and the peer's log; threads: of its products."""
        self.script, self.log_path = script, folder / "peer.log"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "job.json", job | {"threads": threads, "folder": str(folder.resolve())})
        self._command = [str(python), str(SCRIPTS / f"{script}.py"), str((folder / "job.json").resolve())]
        ours = {TUNABLES} if os.environ.get(TUNABLES) == LARGE_PAGES else set()  # a peer runs as its user would start it
        variables = {name: value for name, value in os.environ.items() if name not in ours}
        self._environment = {**variables, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

    def __enter__(self) -> "PeerProcess":
        self._log = self.log_path.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=self._environment, cwd=self.log_path.parent
        )
        self.ready = self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=60 if kind is None else 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def turn(self, kind: str) -> dict[str, Any]:
        """Ask for one measurement and return what the peer answers.

        Raises:
            UserError: the peer ended instead.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(kind + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        tail = self.log_path.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise UserError(f"bench/peers/{self.script}.py ended with {self._process.returncode}; the end of {self.log_path}:\n{tail}")
