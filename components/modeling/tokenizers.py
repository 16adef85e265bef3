"""The tokenizer: byte-level BPE trained on the project's own text, with a Qwen-style chat template.

Digits are split singly (Qwen2's pattern), so a dose or a code is never one opaque token. `<think>` and `</think>` are
single, non-special tokens: they survive decoding. The template carries `{% generation %}` markers, so transformers'
own `apply_chat_template(return_assistant_tokens_mask=True)` agrees with `encode_sample`.

Text of a message may not contain a control token such as `<|im_end|>`: it would end the turn in its author's name.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.conversations import Message
from components.errors import DataError, SettingsError, StorageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END_OF_TEXT, TURN_START, TURN_END = "<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL_TOKENS = (PAD, END_OF_TEXT, TURN_START, TURN_END)
THINK_TOKENS = ("<think>", "</think>")
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GENERATION_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], *, vocabulary: int) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE tokenizer; the same texts in the same order give the same tokenizer.

    Args:
        vocabulary: tokens in all, with the control and think tokens.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(THINK_TOKENS),
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=TURN_END,
        extra_special_tokens=[END_OF_TEXT, TURN_START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Load a tokenizer from a model folder with its own chat template; ours where it brings none.

    Raises:
        StorageError: the folder holds no tokenizer.
        SettingsError: it brings no template and lacks the ChatML tokens that ours needs.
    """
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        raise StorageError(
            f"{folder}: no tokenizer.json; name a Hugging Face model folder with a fast tokenizer (model.folder)"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if isinstance(tokenizer.chat_template, dict):
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    if not tokenizer.chat_template:
        missing = [
            token
            for token in (TURN_START, TURN_END)
            if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id)
        ]
        if missing:
            raise SettingsError(
                f"{folder}: its tokenizer has no chat template and lacks {', '.join(missing)}; name a chat model (model.folder)"
            )
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def encode_prompt(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]) -> list[int]:
    """Return the token ids of a conversation up to and with the opening of the assistant's turn."""
    return encode_prompts(tokenizer, [messages])[0]


def encode_prompts(tokenizer: "PreTrainedTokenizerFast", conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Return `encode_prompt` of every conversation, in one call of the tokenizer."""
    rendered, _ = _render(tokenizer, conversations, add_generation_prompt=True)
    return [encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch(rendered, add_special_tokens=False)]


def encode_sample(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """Return a whole conversation's token ids and a mask that is True on the assistant's tokens, end of turn included."""
    return encode_samples(tokenizer, [messages])[0]


def encode_samples(
    tokenizer: "PreTrainedTokenizerFast", conversations: Sequence[Sequence[Message]]
) -> list[tuple[list[int], list[bool]]]:
    """Return `encode_sample` of every conversation, in one call of the tokenizer."""
    rendered, spans = _render(tokenizer, conversations, add_generation_prompt=False)
    encoded = []
    encodings = tokenizer.backend_tokenizer.encode_batch(rendered, add_special_tokens=False)
    for encoding, turns in zip(encodings, spans, strict=True):
        mask = [any(start <= begin < end for start, end in turns) for begin, _ in encoding.offsets]
        encoded.append((encoding.ids, mask))
    return encoded


def encode_texts(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of plain texts, nothing added."""
    return [
        encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def stop_ids(tokenizer: "PreTrainedTokenizerFast") -> tuple[int, ...]:
    """Return the ids that end an answer: end of turn and end of text."""
    ids = {tokenizer.convert_tokens_to_ids(token) for token in (TURN_END, END_OF_TEXT)} | {tokenizer.eos_token_id}
    return tuple(sorted(token for token in ids if token is not None and token != tokenizer.unk_token_id))


def _render(
    tokenizer: "PreTrainedTokenizerFast", conversations: Sequence[Sequence[Message]], *, add_generation_prompt: bool
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Render conversations through the model's template; also the character spans of the assistant's turns."""
    from transformers.utils.chat_template_utils import render_jinja_template

    plain = []
    control = {*CONTROL_TOKENS, tokenizer.eos_token} - {None}
    for messages in conversations:
        for message in messages:
            found = next((token for token in sorted(control) if token in message.content), None)
            if found:
                raise DataError(f"a {message.role} message contains the control token {found}; remove it from the text")
        plain.append([{"role": message.role, "content": message.content} for message in messages])
    is_marked = GENERATION_MARKER.search(tokenizer.chat_template) is not None
    rendered, spans = render_jinja_template(
        conversations=plain,
        chat_template=tokenizer.chat_template,
        return_assistant_tokens_mask=not add_generation_prompt and is_marked,
        add_generation_prompt=add_generation_prompt,
    )
    if add_generation_prompt or is_marked:
        return rendered, spans
    return rendered, [_unmarked_spans(tokenizer, messages, text) for messages, text in zip(plain, rendered, strict=True)]


def _unmarked_spans(
    tokenizer: "PreTrainedTokenizerFast", messages: Sequence[dict[str, str]], rendered: str
) -> list[tuple[int, int]]:
    """Find the assistant's turns under a template without generation markers: from the opening of each turn to its end token.

    Raises:
        SettingsError: the template renders what stands before a turn otherwise once the turn follows, or ends no turn.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    spans = []
    end = tokenizer.eos_token or TURN_END
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        (before,), _ = render_jinja_template(
            conversations=[list(messages[:number])], chat_template=tokenizer.chat_template, add_generation_prompt=True
        )
        stop = rendered.find(end, len(before))
        if not rendered.startswith(before) or stop < 0:
            raise SettingsError(
                f"the model's chat template does not show where the assistant's turn {number} begins and ends with {end}; put "
                "{% generation %} and {% endgeneration %} around what the assistant says in it"
            )
        spans.append((len(before), stop + len(end)))
    return spans
