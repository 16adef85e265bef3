"""transformers' generate on a batch of prompts with several samples each: kind `fixed` ignores the stop tokens."""

import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from turns import Turns, read_job


def main() -> None:
    """Answer turns with seconds and sampled tokens; texts are decoded within them."""
    turns, job = Turns(), read_job()
    torch.set_num_threads(job["threads"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"], padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["precision"])).eval()
    stops = list(model.generation_config.eos_token_id)
    inputs = tokenizer.pad({"input_ids": job["prompts"]}, return_tensors="pt")
    width = inputs["input_ids"].shape[1]

    def measure(kind: str) -> dict[str, float]:
        model.generation_config.eos_token_id = None if kind == "fixed" else stops
        started = time.perf_counter()
        with torch.inference_mode():
            output = model.generate(
                **inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=job["samples"], max_new_tokens=job["max_new_tokens"]
            )
        answers = output[:, width:]
        tokenizer.batch_decode(answers, skip_special_tokens=True)
        seconds = time.perf_counter() - started
        ended = torch.isin(answers, torch.tensor(stops if kind != "fixed" else [], dtype=torch.int64)).int().cumsum(dim=1)
        return {"seconds": seconds, "samples": len(answers), "tokens": int((ended == 0).sum() + (ended.max(dim=1).values > 0).sum())}

    torch.manual_seed(1)
    for kind in job["kinds"]:
        measure(kind)
    turns.ready()
    while (kind := turns.next()) is not None:
        turns.report(**measure(kind))


if __name__ == "__main__":
    main()
