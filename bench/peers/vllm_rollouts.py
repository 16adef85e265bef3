"""vLLM in this process on a batch of prompts with several samples each: kind `fixed` ignores the stop tokens.

As in reinforcement learning, the sampled tokens' log-probabilities are asked for, and the prefix cache is emptied before
each turn, as it must be whenever weights change; samples of one prompt share its prefix within a turn.

Compiled, with cache blocks of 32 tokens, the fastest of what was tried (0.98 million parameters, float32, one thread, tokens a
second, fixed and stops): eager 7,300 and 5,900; compiled 8,200 and 6,600; with blocks of 32 in place of 128 8,400 and 6,900.
"""

import os
import time

from turns import Turns, read_job


def main() -> None:
    """Answer turns with seconds and sampled tokens."""
    turns, job = Turns(), read_job()
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CACHE_ROOT": os.path.join(job["folder"], "cache"),
    }  # fmt: skip
    from vllm import LLM, SamplingParams

    rows = len(job["prompts"]) * job["samples"]
    llm = LLM(
        model=job["model"], dtype=job["precision"], block_size=32, max_model_len=job["context"], max_num_seqs=min(512, rows),
        max_num_batched_tokens=8192, seed=1, disable_log_stats=True,
    )  # fmt: skip
    prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]

    def measure(kind: str) -> dict[str, float]:
        llm.reset_prefix_cache()
        params = SamplingParams(
            n=job["samples"], temperature=1.0, top_p=1.0, top_k=0, max_tokens=job["max_new_tokens"], ignore_eos=kind == "fixed", logprobs=0
        )
        started = time.perf_counter()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        answers = [answer for output in outputs for answer in output.outputs]
        return {"seconds": seconds, "samples": len(answers), "tokens": sum(len(answer.token_ids) for answer in answers)}

    for kind in job["kinds"]:
        measure(kind)
    turns.ready()
    while (kind := turns.next()) is not None:
        turns.report(**measure(kind))


if __name__ == "__main__":
    main()
