"""Model folders: equal bytes for equal weights, loadable by transformers alone."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from components.errors import StorageError
from components.lineage import digest_folder
from components.modeling.models import create_model, load_model, save_model
from components.settings.training import ModelSettings


def test_equal_seeds_give_equal_folders(tiny_tokenizer, tmp_path):
    shape = ModelSettings(
        vocabulary=512, hidden=32, layers=1, heads=2, key_value_heads=1, head_dimension=8, intermediate=32
    )
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        save_model(create_model(shape, tokenizer=tiny_tokenizer, seed=seed), tiny_tokenizer, tmp_path / name)
    assert digest_folder(tmp_path / "a") == digest_folder(tmp_path / "b") != digest_folder(tmp_path / "c")


def test_saved_after_loading_is_the_same_folder(tiny_model, tiny_tokenizer, tmp_path):
    save_model(tiny_model, tiny_tokenizer, tmp_path / "a")
    save_model(load_model(tmp_path / "a"), tiny_tokenizer, tmp_path / "b")
    assert digest_folder(tmp_path / "a") == digest_folder(tmp_path / "b")


def test_transformers_loads_it_untied(tiny_model, tiny_tokenizer, tmp_path):
    save_model(tiny_model, tiny_tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded(ids).logits, tiny_model(ids).logits)
    assert not loaded.config.tie_word_embeddings


def test_damaged_weights_are_refused_in_one_line(tiny_model, tiny_tokenizer, tmp_path):
    save_model(tiny_model, tiny_tokenizer, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(StorageError, match="cannot be loaded"):
        load_model(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"config\.json"):
        load_model(tmp_path)
