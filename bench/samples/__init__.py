"""What a GRPO step costs against the answers a prompt, on this processor: 4 to 32 samples, the laptop profile's model.

    make bench NAME=samples
    python -m bench.samples --quick             (a smoke run: tiny, nothing stored)

A step is the policy loop's own: 32 prompts sampled (answers of 32 tokens at most that stop by chance), scored, reference,
update (beta .01), on the models and prompts of the bench `training`. Turns at all counts alternate, so that a slow minute meets
them all; figures are medians over turns of the mean step, its first step left out. `growth` is the seconds at the most
samples over those at the fewest, over the ratio of the answers: 1 is proportional, less what a shared prompt saves. The
last line is one JSON object, stored in bench/results/ with a plot. Run it with nothing else at work.
"""
