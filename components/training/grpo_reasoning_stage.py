"""Stage 14, reinforcement learning on verifiable rewards (report §3.3): GRPO from the cold-start model.

Rewards: the verifier's score of the final answer, and adherence to the format.
"""

from components import layout
from components.stage import StageContext
from components.training.policy.stage import run_policy_stage, verifier_terms


def run(context: StageContext) -> None:
    """Tune cold_start on the reasoning prompts and publish grpo_reasoning."""
    run_policy_stage(
        context,
        parent=layout.COLD_START,
        prompts=layout.REASONING_PROMPTS,
        output=layout.GRPO_REASONING,
        terms=verifier_terms(),
    )
