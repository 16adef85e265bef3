"""The one dictionary of policy losses; its keys are the values of `loss` in params.yaml."""

from components.training.policy.losses import dapo, dr_grpo, grpo
from components.training.policy.losses.loss import PolicyLoss

LOSSES: dict[str, PolicyLoss] = {"grpo": grpo.LOSS, "dapo": dapo.LOSS, "dr_grpo": dr_grpo.LOSS}
