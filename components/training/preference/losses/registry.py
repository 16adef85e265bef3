"""The one dictionary of direct preference losses; its keys are the values of `loss` in the settings."""

from components.training.preference.losses.cdpo import cdpo_loss
from components.training.preference.losses.dpo import dpo_loss
from components.training.preference.losses.ipo import ipo_loss
from components.training.preference.losses.loss import PreferenceLoss

PREFERENCE_LOSSES: dict[str, PreferenceLoss] = {"dpo": dpo_loss, "ipo": ipo_loss, "cdpo": cdpo_loss}
