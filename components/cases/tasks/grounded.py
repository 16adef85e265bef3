"""Grounded questions: a few numbered passages of the curated documents, one of which answers.

The others speak of other diseases in the same terms, or contradict the first with less authority; the answer states
the relevant passage's facts and cites it.
"""

from random import Random

from components.cases.case import Passage
from components.cases.passages import FactPassage
from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.wording import capitalised, joined
from components.cases.world import World

FACTS_STATED = 3
FACTS_WANTED = 2
_QUESTIONS = {
    "drug": ("How is {} treated?", "{} is treated with {}"),
    "test": ("How is {} tested for?", "{} is tested for with {}"),
    "symptom": ("What are symptoms of {}?", "Symptoms of {} are {}"),
    "finding": ("What findings has {}?", "Findings in {} are {}"),
    "complication": ("What are complications of {}?", "Complications of {} are {}"),
    "risk factor": ("What raises the risk of {}?", "The risk of {} is raised by {}"),
}
_LOW_AUTHORITY = ("D", "E")


def draw_grounded(world: World, random: Random) -> Draft | None:
    """Draw a passage that answers and some that do not, in random order."""
    answering = [passage for passage in _by_kind(world, random) if passage.facts and not passage.others and passage.authority != "E"]
    if not answering:
        return None
    relevant = random.choice(answering)
    noise = _noise(world, relevant, random)
    if len(noise) < world.noise_passages:
        return None
    shown = [relevant, *noise]
    random.shuffle(shown)
    number = shown.index(relevant) + 1
    name = world.kb.diseases[relevant.disease].name
    stated = relevant.facts[:FACTS_STATED]
    question, answer = _QUESTIONS[relevant.kind]
    wrong = _wrong_facts(world, relevant, noise)
    lines = "\n".join(f"[{index}] ({passage.authority}) {passage.text}" for index, passage in enumerate(shown, 1))
    return Draft(
        combination=combination_of(relevant.disease, f"grounded_{relevant.kind.replace(' ', '_')}"),
        entities=(relevant.disease,),
        fields={"passages": lines, "question": question.format(name)},
        answer=f"{capitalised(answer.format(name, joined(stated)))} [{number}].",
        reference={
            "facts": [[fact] for fact in relevant.facts],
            "required": min(FACTS_WANTED, len(relevant.facts)),
            "wrong": wrong,
            "relevant": [number],
            "kind": relevant.kind,
            "disease": relevant.disease,
        },
        passages=tuple(
            Passage(document_id=passage.document_id, text=passage.text, authority=passage.authority, is_relevant=passage is relevant)
            for passage in shown
        ),
        source_ids=tuple(dict.fromkeys(source for passage in shown for source in passage.source_ids)),
    )


def _by_kind(world: World, random: Random) -> list[FactPassage]:
    """Return the passages of a random disease and kind, so that diseases with many documents do not dominate."""
    disease, kind = world.draw_disease(random).id, random.choice(tuple(_QUESTIONS))
    return world.passages_of.get((disease, kind), [])


def _noise(world: World, relevant: FactPassage, random: Random) -> list[FactPassage]:
    """Draw passages that do not answer: one that contradicts with low authority where there is one."""
    contradicting = [
        passage for passage in world.passages_of.get((relevant.disease, relevant.kind), [])
        if passage.others and not passage.facts and passage.authority in _LOW_AUTHORITY
    ]  # fmt: skip
    has_contradiction = contradicting and world.noise_passages and random.random() < 0.5
    chosen = [random.choice(contradicting)] if has_contradiction else []
    others = [disease.id for disease in random.sample(world.diseases, min(8, len(world.diseases))) if disease.id != relevant.disease]
    for other in others:
        if len(chosen) >= world.noise_passages:
            break
        passages = world.passages_of.get((other, relevant.kind), [])
        if passages:
            chosen.append(random.choice(passages))
    return chosen


def _wrong_facts(world: World, relevant: FactPassage, noise: list[FactPassage]) -> list[str]:
    """Return what only the other passages support; not phrases that are part of the disease's name or of a true fact."""
    true = [world.kb.diseases[relevant.disease].name, *world.facts[relevant.disease, relevant.kind], *relevant.facts]
    said = {fact for passage in noise for fact in (*passage.facts, *passage.others)}
    return sorted(fact for fact in said if not any(fact.casefold() in phrase.casefold() for phrase in true))


GROUNDED_TASK = Task(
    name="grounded_answer", suite="grounded", dimension="comprehension", level=3, verifier="grounded", draw=draw_grounded,
    train_templates=(
        "{passages}\n{question} Cite the passage.",
        "{passages}\nAnswer from the passages and cite: {question}",
        "{passages}\n{question}",
    ),
    held_out_templates=("{passages}\nUsing only what is shown, with its number: {question}",),
)  # fmt: skip
