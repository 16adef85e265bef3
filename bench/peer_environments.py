"""Environments of the peers: one folder each, made by uv from exact pins, and made anew only where the pins change."""

import os
import subprocess
import sys
from pathlib import Path

from components.errors import UserError
from components.lineage import digest_bytes

FOLDER = "var/bench/peers"
PINS = Path(__file__).parent / "peers"
OURS = "ours"  # transformers' own generate is measured in this project's environment


def peer_python(name: str, *, project: Path) -> Path:
    """Return the Python of a peer's environment, making the environment where it is missing or of other pins.

    Args:
        name: of `bench/peers/<name>.txt`, or `OURS`.
    Raises:
        UserError: uv cannot make it.
    """
    if name == OURS:
        return Path(sys.executable)
    folder = project / FOLDER / name
    python, marker = folder / "venv/bin/python", folder / "made-of"
    pins, overrides = PINS / f"{name}.txt", PINS / f"{name}-overrides.txt"
    digest = digest_bytes(b"".join(path.read_bytes() for path in (pins, overrides) if path.exists()))
    if python.exists() and marker.exists() and marker.read_text(encoding="utf-8") == digest:
        return python
    print(f"making the environment of {name} in {folder} (gigabytes, some minutes without a warm cache)", file=sys.stderr, flush=True)
    options = ["--overrides", str(overrides)] if overrides.exists() else []
    marker.unlink(missing_ok=True)
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder / "venv"))
    _uv("pip", "install", "--quiet", "--python", str(python), "-r", str(pins), *options)
    marker.write_text(digest, encoding="utf-8")
    return python


def _uv(*arguments: str) -> None:
    links = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")
    command = [str(Path(sys.executable).with_name("uv")), *arguments]
    done = subprocess.run(command, env={**os.environ, "UV_FIND_LINKS": links}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {done.stderr.strip()[-1000:]}; a peer's environment needs a package index and about 3 GB of disk")
