"""The tokenizer against transformers' own template code, and what must survive a round trip."""

import pytest

from components.conversations import Message
from components.errors import DataError, SettingsError, StorageError
from components.modeling.models import save_model
from components.modeling.tokenizers import (
    encode_prompt,
    encode_sample,
    encode_samples,
    load_tokenizer,
    stop_ids,
    train_tokenizer,
)

CONVERSATION = [
    Message(role="user", content="What causes wheeze?"),
    Message(role="assistant", content="<think>night cough suggests asthma</think>Asthma."),
    Message(role="user", content="And fever?"),
    Message(role="assistant", content="\nPneumonia, 38.5 degrees."),
]


def test_assistant_mask_and_ids_equal_transformers_own(tiny_tokenizer):
    expected = tiny_tokenizer.apply_chat_template(
        [message.model_dump() for message in CONVERSATION], return_assistant_tokens_mask=True, return_dict=True
    )
    ids, mask = encode_sample(tiny_tokenizer, CONVERSATION)
    assert ids == expected["input_ids"]
    assert mask == [bool(value) for value in expected["assistant_masks"]]


def test_learnt_tokens_are_the_answers_and_their_end_of_turn(tiny_tokenizer):
    ids, mask = encode_sample(tiny_tokenizer, CONVERSATION)
    learnt = tiny_tokenizer.decode([token for token, flag in zip(ids, mask, strict=True) if flag])
    assert learnt == f"{CONVERSATION[1].content}<|im_end|>{CONVERSATION[3].content}<|im_end|>"


def test_prompt_is_a_prefix_of_the_sample(tiny_tokenizer):
    prompt = encode_prompt(tiny_tokenizer, CONVERSATION[:1])
    ids, mask = encode_sample(tiny_tokenizer, CONVERSATION[:2])
    assert ids[: len(prompt)] == prompt
    assert mask.index(True) == len(prompt)


def test_batch_encoding_equals_one_by_one(tiny_tokenizer):
    assert encode_samples(tiny_tokenizer, [CONVERSATION, CONVERSATION[:2]]) == [
        encode_sample(tiny_tokenizer, CONVERSATION), encode_sample(tiny_tokenizer, CONVERSATION[:2])
    ]  # fmt: skip


def test_digits_are_single_tokens_and_think_survives_decoding(tiny_tokenizer):
    text = "<think>dose 250</think>J45.9"
    ids = tiny_tokenizer(text)["input_ids"]
    tokens = tiny_tokenizer.convert_ids_to_tokens(ids)
    assert [token for token in tokens if token.isdigit()] == list("250459")
    assert tokens[0] == "<think>"
    assert tiny_tokenizer.decode(ids, skip_special_tokens=True) == text


def test_any_text_survives_a_round_trip(tiny_tokenizer):
    text = "哮喘 — naïve  café\n\ttab 3½ 😀"
    assert tiny_tokenizer.decode(tiny_tokenizer(text)["input_ids"]) == text


def test_control_tokens_in_a_message_are_refused(tiny_tokenizer):
    with pytest.raises(DataError, match="im_end"):
        encode_prompt(tiny_tokenizer, [Message(role="user", content="stop<|im_end|>")])


def test_training_is_deterministic():
    texts = ["fever and cough", "wheeze and cough"] * 3
    first, second = (train_tokenizer(texts, vocabulary=512) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_saved_tokenizer_loads_with_the_same_ids(tiny_model, tiny_tokenizer, tmp_path):
    save_model(tiny_model, tiny_tokenizer, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert encode_sample(loaded, CONVERSATION) == encode_sample(tiny_tokenizer, CONVERSATION)
    assert stop_ids(loaded) == tuple(sorted(loaded.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])))
    assert loaded.pad_token_id not in stop_ids(loaded)


def test_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


UNMARKED = (  # as Qwen3's own: no generation markers, and an empty reasoning block in the last turn alone
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.role == 'assistant' and loop.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{{- message.content + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def test_a_template_without_generation_markers_is_kept_and_its_turns_are_found(tiny_model, tmp_path):
    tokenizer = train_tokenizer(["What causes wheeze? Asthma."], vocabulary=400)
    tokenizer.chat_template = UNMARKED
    save_model(tiny_model, tokenizer, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.chat_template == UNMARKED
    ids, mask = encode_sample(loaded, CONVERSATION)
    assert ids == loaded.apply_chat_template([message.model_dump() for message in CONVERSATION], tokenize=True, return_dict=False)
    learnt = [loaded.decode([token for token, is_learnt in zip(ids, mask, strict=True) if is_learnt])]
    assert learnt == [CONVERSATION[1].content + "<|im_end|>" + "<think>\n\n</think>\n\n" + CONVERSATION[3].content + "<|im_end|>"]


def test_a_template_that_hides_its_turns_is_refused(tiny_model, tmp_path):
    tokenizer = train_tokenizer(["What causes wheeze? Asthma."], vocabulary=400)
    tokenizer.chat_template = "{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}"
    with pytest.raises(SettingsError, match=r"does not show where the assistant's turn 1 begins"):
        encode_sample(tokenizer, CONVERSATION[:2])
