"""TRL's trainers on CPU, a few optimiser steps a turn: GRPO, supervised tuning with packing, DPO, reward model.

The job names the trainer (`work`), a model folder, the precision, the data, and `row_batch`, the rows of one forward pass
(the step's other rows come by gradient accumulation). Gradient checkpointing is off, as it is on our side; logging is at
TRL's default, every 10 steps. The first step is not measured.
"""

import time
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from turns import Turns, read_job


class TurnCallback(TrainerCallback):
    """Stops the clock after every `steps` optimiser steps and waits for the next turn."""

    def __init__(self, turns: Turns, steps: int, facts: dict[str, Any], counted: dict[str, float]) -> None:
        self.turns, self.steps, self.facts, self.counted = turns, steps, facts, counted
        self.started = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done = state.global_step - 1
        if done % self.steps:
            return
        if done == 0:
            self.turns.ready(**self.facts)
        else:
            self.turns.report(seconds=time.perf_counter() - self.started, steps=self.steps, **self.counted)
        if self.turns.next() is None:
            control.should_training_stop = True
        self.counted.update(dict.fromkeys(self.counted, 0.0))
        self.started = time.perf_counter()


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments all trainers share."""
    return {
        "output_dir": job["folder"], "max_steps": 10**6, "per_device_train_batch_size": job["row_batch"],
        "gradient_accumulation_steps": max(1, job["rows"] // job["row_batch"]), "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0, "bf16": job["precision"] == "bfloat16", "use_cpu": True,
        "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "seed": 1,
    }  # fmt: skip


def pseudo_reward(completions: list[str], **_: Any) -> list[float]:
    """Return a number in 0..1 that any two answers hardly share: what it rewards does not matter here."""
    return [sum(text.encode()) % 101 / 100 for text in completions]


def grpo(job: dict[str, Any], counted: dict[str, float]) -> tuple[Any, dict[str, Any]]:
    class Counting(GRPOTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            counted["samples"] += len(inputs)
            counted["tokens"] += int(output["completion_mask"].sum())
            return output

    counted.update(samples=0.0, tokens=0.0)
    config = GRPOConfig(
        num_generations=job["samples"], max_completion_length=job["max_new_tokens"], beta=job["kl_weight"], loss_type="dapo", epsilon=0.2,
        epsilon_high=0.28, temperature=1.0, top_k=0, use_bias_correction_kl=True, shuffle_dataset=False, **settings(job),
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    dataset = Dataset.from_dict({"prompt": job["prompts"]})
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    facts = {"prompt_tokens": sum(map(len, tokenizer(text=job["prompts"])["input_ids"]))}
    return Counting(model=model, reward_funcs=pseudo_reward, args=config, train_dataset=dataset, processing_class=tokenizer), facts


def sft(job: dict[str, Any], counted: dict[str, float]) -> tuple[Any, dict[str, Any]]:
    class Counting(SFTTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counted["tokens"] += inputs["input_ids"].numel()  # packing leaves no padding
            counted["targets"] += int((inputs["labels"] != -100).sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

    counted.update(tokens=0.0, targets=0.0)
    config = SFTConfig(packing=True, packing_strategy="bfd", max_length=job["context"], **settings(job))
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    rows = [{"input_ids": ids, "labels": [token if flag else -100 for token, flag in zip(ids, mask, strict=True)]} for ids, mask in job["examples"]]
    trainer = Counting(model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=AutoTokenizer.from_pretrained(job["model"]))
    packed = trainer.train_dataset
    return trainer, {
        "tokens": sum(map(len, packed["input_ids"])), "targets": sum(label != -100 for row in packed["labels"] for label in row), "rows": len(packed)
    }  # fmt: skip


def conversational(job: dict[str, Any]) -> Dataset:
    """Return the job's pairs as TRL's conversational preference data with explicit prompts."""
    pairs = job["pairs"]
    answers = {name: [[{"role": "assistant", "content": pair[name]}] for pair in pairs] for name in ("chosen", "rejected")}
    return Dataset.from_dict({"prompt": [[{"role": "user", "content": pair["prompt"]}] for pair in pairs], **answers})


def preference(job: dict[str, Any], counted: dict[str, float], *, base: Any, config: Any, model: Any) -> tuple[Any, dict[str, Any]]:
    class Counting(base):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counted["samples"] += len(inputs["input_ids"]) // 2
            counted["tokens"] += int(inputs["attention_mask"].sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

    counted.update(samples=0.0, tokens=0.0)
    return Counting(model=model, args=config, train_dataset=conversational(job), processing_class=AutoTokenizer.from_pretrained(job["model"])), {}


def dpo(job: dict[str, Any], counted: dict[str, float]) -> tuple[Any, dict[str, Any]]:
    config = DPOConfig(beta=job["beta"], precompute_ref_log_probs=True, max_length=job["context"], **settings(job))
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    return preference(job, counted, base=DPOTrainer, config=config, model=model)


def reward(job: dict[str, Any], counted: dict[str, float]) -> tuple[Any, dict[str, Any]]:
    config = RewardConfig(max_length=job["context"], center_rewards_coefficient=job["centring"], **settings(job))
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], dtype=torch.float32, num_labels=1)
    return preference(job, counted, base=RewardTrainer, config=config, model=model)


WORKS = {"grpo": grpo, "sft": sft, "dpo": dpo, "reward": reward}


def main() -> None:
    """Make the trainer and let it train, a turn at a time."""
    turns, job = Turns(), read_job()
    torch.set_num_threads(job["threads"])
    counted: dict[str, float] = {}
    trainer, facts = WORKS[job["work"]](job, counted)
    trainer.add_callback(TurnCallback(turns, job["steps"], facts, counted))
    trainer.train()


if __name__ == "__main__":
    main()
