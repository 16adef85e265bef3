"""Quick stages of the fake project: each does a little of what the real one does, and can be told to fail.

`faults.txt` in the project's folder holds lines "<stage> <moment> <fault>": kill, die, error, bug, full, edit, slow; a fault acts once.
"""

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

from components.errors import DataError
from components.evaluation.results import ItemResult, write_results
from components.stage import StageContext
from components.storage.files import write_json

STAGES = {name: f"fake_stages_{name}" for name in ("sources", "ift", "grpo_general", "evaluate")}
STEPS = 4


def sources(context: StageContext) -> None:
    act_out_fault(context, "before")
    words = (context.root / "data" / "notes.txt").read_text().split()
    context.write("artifacts/sources/documents.jsonl").write_text("".join(json.dumps({"text": word}) + "\n" for word in words))
    context.recorder.summary({"documents": len(words)})


def ift(context: StageContext) -> None:
    """Publish base, then four steps with a checkpoint after each; the weight is the sum of the steps taken."""
    publish(context, "models/base.json", 1.0)
    act_out_fault(context, "before")
    checkpoint, _ = context.checkpoints.latest()
    start, weight = 0, 0.0
    if checkpoint is not None:
        start, weight = checkpoint.step, checkpoint.state["weight"]
        context.recorder.rewind(checkpoint.state["position"], step=start)
    for step in range(start + 1, STEPS + 1):
        weight += step * context.section("ift").optimiser.learning_rate
        context.recorder.metrics({"loss": 1 / step}, step=step)
        context.recorder.progress(step, STEPS, loss=1 / step)
        context.checkpoints.save(step, tensors={}, state={"weight": weight, "position": context.recorder.position()})
        if step == STEPS // 2:
            act_out_fault(context, "middle")
    publish(context, "models/ift.json", weight)
    context.recorder.summary({"loss": 1 / STEPS})


def grpo_general(context: StageContext) -> None:
    act_out_fault(context, "before")
    weight = read_weight(context, "models/ift.json")
    publish(context, "models/grpo_general.json", weight + context.section("grpo_general").kl_weight, parent="models/ift.json")
    context.recorder.summary({"reward": weight})


def evaluate(context: StageContext) -> None:
    """Score: the candidate gets every verified case right, base none; both keep the format."""
    act_out_fault(context, "before")
    rows = []
    for model in ("base", "grpo_general"):
        for number in range(60):
            for suite, score in (("verified", float(model != "base")), ("format", 1.0), ("safety", 1.0)):
                rows.append((model, ItemResult(suite, "t", f"{suite}-{number}", f"d{number % 10}", 0, score, False, "an answer")))
    write_results(context.write("artifacts/evaluate/results.parquet"), rows)
    write_json(context.write("artifacts/evaluate/metrics.json"), {"base": {"verified": {"value": 0.0, "low": 0.0, "high": 0.0, "n": 60}}})
    write_json(context.write("artifacts/evaluate/claims.json"), [])


def publish(context: StageContext, path: str, weight: float, *, parent: str | None = None) -> None:
    folder = context.recorder.folder / "model" / Path(path).stem
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"weight": weight}))
    context.publish_model(folder, path, parent=parent)


def read_weight(context: StageContext, path: str) -> float:
    return json.loads((context.fetch_model(path) / "config.json").read_text())["weight"]


def act_out_fault(context: StageContext, moment: str) -> None:
    path = context.root / "faults.txt"
    with (context.root / "calls.txt").open("a") as stream:
        stream.write(f"{context.name} {moment}\n")
    lines = path.read_text().splitlines() if path.is_file() else []
    mine = [line for line in lines if line.split()[:2] == [context.name, moment]]
    if not mine:
        return
    path.write_text("".join(f"{line}\n" for line in lines if line != mine[0]))
    fault = mine[0].split()[2]
    if fault == "kill":  # the whole run dies at once, as by `kill -9` on both processes
        os.kill(int((context.root / "var" / "retrain.lock").read_text()), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "die":  # only the worker dies
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "error":
        raise DataError("data/notes.txt:1: a bad word; remove it")
    if fault == "bug":
        raise ZeroDivisionError("a mistake in the code")
    if fault == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/ift.json")
    if fault == "edit":
        (context.root / "recipes" / "training.py").write_text("FACTOR = 3\n")
    if fault == "slow":
        print("slow", file=sys.stderr)
        time.sleep(60)
