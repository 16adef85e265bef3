"""Stage `pretraining`: the model `base`, from scratch with a tokenizer of its own, or a Hugging Face folder continued.

Texts: curated documents, and the realised triples' sentences, those of one entity told together: a name met again within
its own text is learnt sooner than over sentences apart. The tokenizer also sees the wording of the training cases
(never trained on here), so that later prompts are not split into bytes. A slice of the documents is kept for the
validation loss before and after.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from components import layout
from components.documents import Document, read_jsonl, read_models
from components.lineage import stable_fraction
from components.stage import StageContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

HELD_OUT_SHARE = 0.03  # of the documents, for the validation loss
TRIPLES_A_PASSAGE = 4
SEED_OFFSET = 100


def run(context: StageContext) -> None:
    """Train and publish `base`."""
    from components.modeling.models import save_model
    from components.training.supervised.tuning import pretrain

    documents = read_models(context.read(layout.DOCUMENTS), Document)
    passages = entity_passages(read_jsonl(context.read(layout.SENTENCES)), seed=context.seed)
    texts = [document.text for document in documents if not _is_held_out(document)] + passages
    held_out = [document.text for document in documents if _is_held_out(document)]
    model, tokenizer = _starting_point(context, texts)
    result = pretrain(
        model, tokenizer, texts, settings=context.section("pretraining"), seed=context.seed + SEED_OFFSET,
        recorder=context.recorder, checkpoints=context.checkpoints, validation=held_out, engine=context.section("engine"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, tokenizer, Path(folder))
        reference = context.publish_model(Path(folder), layout.BASE)
    context.recorder.summary(
        {
            "steps": result.steps,
            "tokens": result.tokens,
            "loss": result.loss,
            "validation_loss_before": result.before.loss if result.before else float("nan"),
            "validation_loss_after": result.after.loss if result.after else float("nan"),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "vocabulary": len(tokenizer),
            "texts": len(texts),
            "size_bytes": reference.size_bytes,
        }
    )


def entity_passages(sentences: Iterable[Mapping[str, Any]], *, seed: int) -> list[str]:
    """Return texts of up to `TRIPLES_A_PASSAGE` triples of one entity, every wording of each, in an order fixed by the seed."""
    wordings: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for line in sentences:
        triple = tuple(line["triple"])
        wordings.setdefault(triple[0], {}).setdefault(triple, []).append(str(line["text"]))
    passages = []
    for entity, triples in sorted(wordings.items()):
        random = Random(f"{seed}/passages/{entity}")
        ordered = random.sample(sorted(triples), len(triples))
        for start in range(0, len(ordered), TRIPLES_A_PASSAGE):
            lines = [text for triple in ordered[start : start + TRIPLES_A_PASSAGE] for text in triples[triple]]
            passages.append(" ".join(random.sample(lines, len(lines))))
    return passages


def _is_held_out(document: Document) -> bool:
    return stable_fraction("pretraining-validation", document.id) < HELD_OUT_SHARE


def _starting_point(context: StageContext, texts: list[str]) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    from components.modeling.models import create_model, load_model
    from components.modeling.tokenizers import load_tokenizer, train_tokenizer

    settings = context.section("model")
    if settings.folder:
        folder = context.root / Path(settings.folder).expanduser()
        return load_model(folder), load_tokenizer(folder)
    tokenizer = train_tokenizer([*texts, *_case_wording(context)], vocabulary=settings.vocabulary)
    return create_model(settings, tokenizer=tokenizer, seed=context.seed + SEED_OFFSET), tokenizer


def _case_wording(context: StageContext) -> list[str]:
    wording = []
    for line in read_jsonl(context.read(layout.TRAIN_CASES)):
        wording += [message["content"] for message in line["messages"]]
        wording += [line["answer"], str(line.get("reference", {}).get("reasoning", ""))]
    return wording
