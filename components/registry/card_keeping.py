"""Keep a version's model card where people look: whole as the artifact `model_card.md` of its run, in short as its description.

The card is made anew from the records at every decision, so it never says less than the journal.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.registry.card_content import card_content
from components.registry.journal import open_journal
from components.registry.model_card import model_card, short_card
from components.registry.version_reading import find_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

CARD = "model_card.md"
DESCRIPTION_LETTERS = 4900  # MLflow's column holds 5,000


def keep_card(root: Path, client: "MlflowClient", model: str, version: str) -> str:
    """Make a version's card, store it with the version and return it."""
    record = find_version(client, version, model=model)
    card = model_card(card_content(root, record, entries=open_journal(root).entries(model), client=client))
    if record.mlflow_run:
        client.log_text(record.mlflow_run, card, CARD)
    client.update_model_version(model, record.version, description=short_card(card, maximum=DESCRIPTION_LETTERS))
    return card


def read_card(root: Path, client: "MlflowClient", wanted: str, *, model: str) -> str:
    """Return the stored card of a version; where none was stored yet, one made now, which is not stored.

    Raises:
        UserError: there is no such version.
    """
    from mlflow.exceptions import MlflowException

    record = find_version(client, wanted, model=model)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return Path(client.download_artifacts(record.mlflow_run, CARD, folder)).read_text(encoding="utf-8")
    except (MlflowException, OSError):
        return model_card(card_content(root, record, entries=open_journal(root).entries(record.model), client=client))
