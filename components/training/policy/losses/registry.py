"""The one dictionary of policy losses; its keys are the values of `loss` in params.yaml."""

from components.training.policy.losses import cispo, dapo, dr_grpo, grpo, gspo
from components.training.policy.losses.loss import PolicyLoss

LOSSES: dict[str, PolicyLoss] = {
    "grpo": grpo.LOSS,
    "dapo": dapo.LOSS,
    "dr_grpo": dr_grpo.LOSS,
    "gspo": gspo.LOSS,
    "cispo": cispo.LOSS,
}
