"""Training and sampling against TRL, transformers and vLLM, on this machine's CPU.

    make bench NAME=training
    python -m bench.training --quick                                 (a smoke run: tiny, nothing stored)
    python -m bench.training --works sft,reward --sizes 3            (a part)
    python -m bench.training --go-on                                 (a run that was cut off: what it had measured counts)

Each peer runs in an environment of its own (`bench/peers/`; made once, about 4 GB). Both sides get the same model, the same
token ids, the same batches, as many threads, the same number type (bfloat16: float32 master weights, products in bfloat16;
for sampling alone, weights in bfloat16) and AdamW. They are measured in turn, ours first, so that a slow minute meets both; a
ratio is the median over pairs of turns, ours over the peer's, in samples or tokens a second. TRL's
forward pass takes as many rows as were fastest of those tried for one turn before (`row_batches` in `works.py`); its gradient
checkpointing is off. What each side does in a measured step:

    grpo            a whole optimiser step: sample 32 × 8 answers of at most 32 tokens, score, reference, update (beta .01)
    sft             packed conversations, every one once in an epoch; both sides count the same target tokens, or it is refused
    dpo, reward     64 pairs a step, two answers to each prompt; DPO's reference is scored before the steps, on both sides
    rollout         64 prompts × 8 answers with log-probabilities of the sampled tokens where the peer has them, texts decoded

`fixed` answers have 32 tokens; `stops` end where the model stops, by chance, after 15 tokens on average (the project's
reinforcement stage: 22 of 48). Both come from one model but for one row of its head (`models.py`), so lengths follow the same
law on both sides. Prompt and answer lengths are those of the project's own samples (`data.py`).

The last line is one JSON object. A ratio there is the worst over number types and model sizes; `peak_share` is explained in
`peak.py`. Work lies in var/bench/training/.
"""
