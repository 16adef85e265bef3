"""A process that has torch imported and forks a child for each training run it is asked for, so that many kills cost little.

    python chaos_server.py

Lines on stdin: "supervised <folder>" or "policy <folder>", answered by the child's process id; then any line, answered
by the child's wait status once it has ended: until then its id is its own, so that no other process can be killed.
What a run ends with lies in <folder>/final.safetensors and <folder>/record.
"""

import os
import sys
from pathlib import Path

import transformers.models.qwen3.modeling_qwen3
from safetensors.torch import save_file

from components.conversations import Message
from components.generation.native_sampler import NativeSampler
from components.launch.torch_setup import prepare_torch
from components.modeling.models import create_model
from components.modeling.tokenizers import encode_prompts, train_tokenizer
from components.recorder import Recorder
from components.settings.training import ModelSettings, OptimiserSettings, PolicySettings, SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.supervised.tuning import pretrain

WORDS = ("asthma", "anaemia", "gout", "migraine", "eczema", "asthenia", "angina", "rickets")
SHAPE = {"vocabulary": 512, "hidden": 64, "layers": 2, "heads": 4, "key_value_heads": 2, "head_dimension": 16, "intermediate": 128, "context": 64}


def main() -> None:
    for line in sys.stdin:
        kind, folder = line.split()
        pid = os.fork()
        if pid == 0:
            train(kind, Path(folder))
            os._exit(0)
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitpid(pid, 0)[1], flush=True)


def train(kind: str, folder: Path, *, threads: int = 1, steps: int = 40) -> None:
    prepare_torch(threads)
    texts = [f"what is {word}? {word} it is" for word in WORDS]
    tokenizer = train_tokenizer(texts, vocabulary=512)
    model = create_model(ModelSettings(**SHAPE), tokenizer=tokenizer, seed=3)
    recorder, checkpoints = Recorder(folder / "record"), CheckpointFolder(folder / "checkpoints", key="k")
    optimiser = OptimiserSettings(learning_rate=3e-3, warmup_steps=2, weight_decay=0.0)
    if kind == "supervised":
        settings = SupervisedSettings(
            optimiser=optimiser, steps=steps, batch_samples=3, validate_every=5, patience=9, checkpoint_every=2, precision="float32"
        )
        pretrain(model, tokenizer, texts[:6], settings=settings, seed=5, recorder=recorder, checkpoints=checkpoints, validation=texts[6:])
    else:
        settings = PolicySettings(
            optimiser=optimiser, steps=steps, prompts_per_step=4, completions=4, max_new_tokens=6, epochs=1, refill_rounds=1,
            precision="float32", mask_truncated=False, checkpoint_every=2, mastered_pass_rate=0.4,
        )  # fmt: skip
        ids = encode_prompts(tokenizer, [[Message(role="user", content=f"what is {word}?")] for word in WORDS])
        prompts = [PolicyPrompt(word, "toy", tuple(prompt)) for word, prompt in zip(WORDS, ids, strict=True)]
        sampler = NativeSampler(model, tokenizer, precision="float32")
        optimise_policy(model, prompts, count_vowels, sampler=sampler, settings=settings, seed=11, recorder=recorder, checkpoints=checkpoints)
    save_file({name: value.clone() for name, value in model.state_dict().items()}, folder / "final.safetensors")


def count_vowels(prompts: list[PolicyPrompt], texts: list[str]) -> list[dict[str, float | None]]:
    return [{"correct": text.count("a") / max(len(text), 1)} for text in texts]


if __name__ == "__main__":
    assert transformers.models.qwen3.modeling_qwen3
    main()
