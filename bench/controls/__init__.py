"""Is each part of the recipe worth it? What the recipe makes against a control at equal cost, over several seeds.

    make bench NAME=controls
    python -m bench.controls --seeds 1 --profile infra/profiles/tiny.yaml     (a rehearsal)

A seed is a whole run of its own: other raw data, other splits, other weights. Controls, each compared on the test split:

    grpo_reasoning   supervised tuning from the same cold_start on the same prompts' full-mark answers, equal compute
    ift              uniform task ratios; random ones (uniform on the simplex above mixture.floor); equal steps
    sft              the same candidates, but the first one, or a random one, in place of the best
    base             pre-training without the realised triples, equal steps

Equal compute means equal forward passes of tokens, a backward pass counting two. GRPO's tokens: each prompt of a group
once and each sampled token once (sampling), each packed token once for the reference and three times for the policy.
Supervised tuning: each token three times. Its optimiser is cold_start's. Because so many passes over few prompts may
do harm, a second control stops at its validation optimum.

A control is the recipe's own stage in a workspace in which one input differs (`workspaces.py`), so it is checkpointed
and taken over like any stage; killed, the bench goes on where it was. Everything lies in
var/bench/controls/<digest of the settings>/; code that changed makes exactly the stages that import it run again.
"""
