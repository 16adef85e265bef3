"""Stage `knowledge`: triples → sentences; knowledge points and their coverage; text for the points nobody covers.

Probes are cases and made by `holdout`; their wordings are not those of the sentences here.
"""

from typing import Any

from components.documents import Document, read_models, write_jsonl
from components.knowledge.coverage import Library, summarise
from components.knowledge.points import KnowledgePoint, knowledge_points
from components.knowledge.realisation import Names, Sentence, realise
from components.knowledge.synthesis import Paragraph, synthesise
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.triples import Triple
from components.layout import COVERAGE, COVERING, DOCUMENTS, KNOWLEDGE_BASE, KNOWLEDGE_POINTS, SENTENCES, TRIPLES
from components.settings.data import KnowledgeSettings
from components.stage import StageContext
from components.storage.files import write_json


def run(context: StageContext) -> None:
    """Write sentences, knowledge points, coverage, and which documents cover each point.

    Raises:
        DataError: a triple or document line is malformed.
    """
    settings: KnowledgeSettings = context.section("knowledge")
    facts = list(dict.fromkeys(read_models(context.read(TRIPLES), Triple)))
    documents = read_models(context.read(DOCUMENTS), Document)
    names = Names(_written_names(context), facts)
    realised = list(realise(facts, names, per_triple=settings.sentences_per_triple, seed=context.seed))
    sentences = [item for item in realised if isinstance(item, Sentence)]
    context.recorder.progress(1, 3)
    points = list(knowledge_points(facts, names))
    library = Library(documents, (point.subject for point in points))
    covering = [library.covering(point) for point in points]
    covered = [bool(ids) for ids in covering]
    context.recorder.progress(2, 3)
    paragraphs = list(synthesise([point for point, is_covered in zip(points, covered, strict=True) if not is_covered]))
    _write(context, sentences, points, covering, paragraphs)
    before = summarise(points, covered)
    for paragraph in paragraphs:
        library.add(paragraph.text)
    after = summarise(
        points, [is_covered or library.covers(point) for point, is_covered in zip(points, covered, strict=True)]
    )
    coverage: dict[str, Any] = {
        "library": before, "with_synthesis": after, "triples": len(facts), "sentences": len(sentences),
        "ambiguous_sentences": len(realised) - len(sentences), "synthesised_paragraphs": len(paragraphs),
    }  # fmt: skip
    write_json(context.write(COVERAGE), coverage)
    context.recorder.table("coverage", [{"kind": kind, **row} for kind, row in before.items()])
    context.recorder.progress(3, 3)
    context.recorder.summary(
        {f"coverage_{kind}": row["share"] for kind, row in before.items()} | {"sentences": len(sentences)}
    )


def _written_names(context: StageContext) -> dict[str, str]:
    knowledge_base = load_knowledge_base(context.read(KNOWLEDGE_BASE))
    entries = (*knowledge_base.diseases.values(), *knowledge_base.drugs.values(), *knowledge_base.tests.values())
    return {entry.id: entry.name for entry in entries}


def _write(
    context: StageContext,
    sentences: list[Sentence],
    points: list[KnowledgePoint],
    covering: list[list[str]],
    paragraphs: list[Paragraph],
) -> None:
    rows = [
        {
            "text": item.text,
            "triple": [item.triple.subject, item.triple.predicate, item.triple.object],
            "template": item.template,
        }
        for item in sentences
    ]
    rows += [{"text": item.text, "triple": [item.entity], "template": "synthesis", "triples": list(item.triples)} for item in paragraphs]
    write_jsonl(context.write(SENTENCES), rows)
    write_jsonl(
        context.write(KNOWLEDGE_POINTS),
        [
            {"id": point.id, "kind": point.kind, "entity": point.entity, "text": point.text, "is_covered": bool(ids)}
            for point, ids in zip(points, covering, strict=True)
        ],
    )
    write_jsonl(context.write(COVERING), ({"point": point.id, "source_ids": ids} for point, ids in zip(points, covering, strict=True) if ids))
