"""TRL's losses and gradients on a given batch, by its trainers' own compute_loss: one case a turn, written as safetensors."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer
from turns import Turns, read_job

ANSWERS = [{"role": "assistant", "content": "a"}]
PAIR = {"prompt": [[{"role": "user", "content": "a"}]], "chosen": [ANSWERS], "rejected": [[{"role": "assistant", "content": "b"}]]}


def settings(job: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return the arguments all trainers share."""
    return {
        "output_dir": job["folder"], "per_device_train_batch_size": rows, "bf16": False, "use_cpu": True, "gradient_checkpointing": False, "report_to": "none",
        "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip


def policy_trainer(job: dict[str, Any], case: dict[str, Any], batch: dict[str, torch.Tensor]) -> GRPOTrainer:
    """Return a GRPO trainer of the case, as it stands inside a training step."""
    rows, is_cispo = len(batch["completion_ids"]), case["loss"] == "cispo"  # whose epsilon_high is the bound itself
    config = GRPOConfig(
        num_generations=rows, max_completion_length=job["max_new_tokens"], temperature=job["temperature"], beta=case["kl_weight"],
        loss_type="grpo" if case["loss"] in ("logprobs", "gspo") else case["loss"], epsilon=case["clip_low"], epsilon_high=case["clip_high"] + is_cispo,
        importance_sampling_level="sequence" if case["loss"] == "gspo" else "token",
        use_bias_correction_kl=case["kl"] == "ratio_k3", **settings(job, rows),
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(job["policy"], dtype=torch.float32), reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config, train_dataset=Dataset.from_dict({"prompt": ["a"]}), processing_class=AutoTokenizer.from_pretrained(job["policy"]),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def policy(job: dict[str, Any], case: dict[str, Any], batch: dict[str, torch.Tensor]) -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    trainer = policy_trainer(job, case, batch)
    model = trainer.model.train()
    mask = batch["completion_mask"]
    if case["loss"] == "logprobs":
        whole = {name: torch.cat([batch[f"prompt_{name}"], batch[f"completion_{name}"]], dim=1) for name in ("ids", "mask")}
        scored = trainer._get_per_token_logps_and_entropies(model, whole["ids"], whole["mask"], mask.shape[1])[0]
        chosen = scored[mask.bool()]
        return model, -chosen.sum() / len(chosen), {"logprobs": chosen.detach()}
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "old_per_token_logps", "ref_per_token_logps")
    return model, trainer.compute_loss(model, {name: batch[name] for name in names} | {"num_items_in_batch": mask.sum()}), {}


def reward(job: dict[str, Any], case: dict[str, Any], batch: dict[str, torch.Tensor]) -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    config = RewardConfig(center_rewards_coefficient=case["centring"], **settings(job, 1))
    model = AutoModelForSequenceClassification.from_pretrained(job["reward"], dtype=torch.float32, num_labels=1)
    trainer = RewardTrainer(model=model, args=config, train_dataset=Dataset.from_dict(PAIR), processing_class=AutoTokenizer.from_pretrained(job["reward"]))
    model = trainer.model.train()
    return model, trainer.compute_loss(model, {"input_ids": batch["pair_ids"], "attention_mask": batch["pair_mask"], "margin": batch["margin"]}), {}


def dpo(job: dict[str, Any], case: dict[str, Any], batch: dict[str, torch.Tensor]) -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    config = DPOConfig(beta=case["beta"], **settings(job, 1))
    model = AutoModelForCausalLM.from_pretrained(job["policy"], dtype=torch.float32)
    trainer = DPOTrainer(model=model, args=config, train_dataset=Dataset.from_dict(PAIR), processing_class=AutoTokenizer.from_pretrained(job["policy"]))
    trainer.precompute_ref_logps = True  # the batch brings them
    model = trainer.model.train()
    names = {"input_ids": "pair_ids", "attention_mask": "pair_mask", "completion_mask": "pair_completion_mask", "ref_chosen_logps": "ref_chosen_logps", "ref_rejected_logps": "ref_rejected_logps"}
    return model, trainer.compute_loss(model, {name: batch[source] for name, source in names.items()}), {}


LOSSES = {"reward": reward, "dpo": dpo}


def main() -> None:
    """Answer each turn, a case's name, with the file of its result."""
    turns, job = Turns(), read_job()
    torch.set_num_threads(job["threads"])
    batch = load_file(job["batch"])
    turns.ready()
    while (name := turns.next()) is not None:
        case = job["cases"][name]
        model, loss, extra = LOSSES.get(case["loss"], policy)(job, case, batch)
        loss.backward()
        gradients = {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        file = Path(job["folder"]) / f"{name}.safetensors"
        save_file({"loss": loss.detach().reshape(1), **gradients, **extra}, file)
        turns.report(file=str(file))


if __name__ == "__main__":
    main()
