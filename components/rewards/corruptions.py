"""Worse versions of a full-mark answer, each spoilt in one known way: negatives for reward models.

    swapped_drug      a drug that is not for this disease
    unsafe_drug       a first-line drug this patient must not get
    wrong_fact        a test, symptom, complication or risk factor of another disease
    dropped_aspect    one sentence of content left out
    wrong_disease     the drugs and tests of another disease throughout
    padded_list       five more drugs named
    repeated          its first sentence three times
    echoed            its first drug, test or symptom in place of every other one
    other_aspect      a true answer to another question about the disease
    stuttered         its last drug, test, symptom, complication or risk factor named six times over
    truncated         cut in the middle
    empty_advice      nothing but to see a doctor

A version that cannot be made for a case is left out.
"""

import re
from random import Random

from components.cases.case import Case
from components.cases.tasks.preference import ADVICE, ASPECTS, ITEMS
from components.cases.wording import capitalised, joined
from components.rewards.facts import QueryFacts
from components.rewards.mentions import Kind, Mention
from components.rewards.oracle import Oracle

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
PADDING_DRUGS = 5
STUTTERS = 6


def corrupted_answers(case: Case, oracle: Oracle, *, random: Random) -> dict[str, str]:
    """Return the corruptions of a case's gold answer by name, those that differ from it."""
    facts = oracle.facts(case)
    answer = case.answer
    mentions = [mention for mention in oracle.finder.find(answer) if not mention.is_negated]
    versions = {
        "swapped_drug": _swap_one(answer, mentions, "drug", oracle, facts, random),
        "unsafe_drug": _unsafe_drug(answer, mentions, oracle, facts, random),
        "wrong_fact": _swap_one(answer, mentions, _fact_kind(mentions, random), oracle, facts, random),
        "dropped_aspect": _drop_sentence(answer, oracle, random),
        "wrong_disease": _swap_all(answer, mentions, oracle, facts, random),
        "padded_list": _pad(answer, mentions, oracle, facts, random),
        "repeated": " ".join([SENTENCE_END.split(answer)[0]] * 3),
        "echoed": _echo(answer, mentions),
        "other_aspect": _other_aspect(oracle, facts, random),
        "stuttered": _stutter(answer, mentions),
        "truncated": " ".join(answer.split()[: max(2, len(answer.split()) // 2)]),
        "empty_advice": ADVICE,
    }
    return {name: text for name, text in versions.items() if text and text != answer}


def replace_mentions(text: str, replacements: list[tuple[Mention, str]]) -> str:
    """Return the text with mentions replaced, the first letter's case kept."""
    for mention, phrase in sorted(replacements, key=lambda pair: -pair[0].start):
        if mention.phrase[0].isupper():
            phrase = phrase[0].upper() + phrase[1:]
        text = text[: mention.start] + phrase + text[mention.end :]
    return text


def _fact_kind(mentions: list[Mention], random: Random) -> Kind:
    kinds: list[Kind] = ["test", "symptom", "complication", "risk_factor"]
    present = [kind for kind in kinds if any(mention.keys(kind) for mention in mentions)]
    return random.choice(present) if present else "test"


def _swap_one(text: str, mentions: list[Mention], kind: Kind, oracle: Oracle, facts: QueryFacts, random: Random) -> str:
    places = [mention for mention in mentions if mention.keys(kind)]
    if not places:
        return ""
    return replace_mentions(text, [(random.choice(places), random.choice(_wrong_names(kind, oracle, facts)))])


def _swap_all(text: str, mentions: list[Mention], oracle: Oracle, facts: QueryFacts, random: Random) -> str:
    replacements = []
    for kind in ("drug", "test", "symptom"):
        places = [mention for mention in mentions if mention.keys(kind)]
        names = _wrong_names(kind, oracle, facts)
        replacements.extend(zip(places, random.sample(names, min(len(names), len(places))), strict=False))
    return replace_mentions(text, replacements)


def _unsafe_drug(text: str, mentions: list[Mention], oracle: Oracle, facts: QueryFacts, random: Random) -> str:
    unsafe = sorted(facts.contraindicated & set(facts.disease.first_line_drugs))
    places = [mention for mention in mentions if mention.keys("drug")]
    if not unsafe or not places:
        return ""
    return replace_mentions(text, [(random.choice(places), oracle.kb.drugs[random.choice(unsafe)].name)])


def _drop_sentence(text: str, oracle: Oracle, random: Random) -> str:
    parts = SENTENCE_END.split(text)
    full = [index for index, part in enumerate(parts) if any(m.keys("drug") or m.keys("test") or m.keys("symptom") for m in oracle.finder.find(part))]
    if len(parts) < 2 or not full:
        return ""
    left_out = random.choice(full)
    return " ".join(part for index, part in enumerate(parts) if index != left_out)


def _pad(text: str, mentions: list[Mention], oracle: Oracle, facts: QueryFacts, random: Random) -> str:
    places = [mention for mention in mentions if mention.keys("drug")]
    if not places:
        return ""
    more = random.sample(_wrong_names("drug", oracle, facts), PADDING_DRUGS)
    return replace_mentions(text, [(places[0], ", ".join([places[0].phrase, *more]))])


def _echo(text: str, mentions: list[Mention]) -> str:
    places = [mention for mention in mentions if mention.keys("drug") or mention.keys("test") or mention.keys("symptom")]
    return replace_mentions(text, [(mention, places[0].phrase) for mention in places[1:]]) if places else ""


def _other_aspect(oracle: Oracle, facts: QueryFacts, random: Random) -> str:
    disease = facts.disease
    items = {
        "test": [oracle.kb.tests[test].name for test in disease.indicated_tests],
        "symptom": disease.symptoms, "complication": disease.complications, "risk_factor": disease.risk_factors,
    }  # fmt: skip
    others = sorted(kind for kind, names in items.items() if names and kind not in facts.aspects)
    if not others:
        return ""
    kind = random.choice(others)
    sentence = ASPECTS[f"{kind}s"][1].format(disease.name, joined(list(items[kind][:ITEMS])))
    return f"{capitalised(sentence)}. {ADVICE}"


def _stutter(text: str, mentions: list[Mention]) -> str:
    places = [mention for mention in mentions if any(mention.keys(kind) for kind in ("drug", "test", "symptom", "complication", "risk_factor"))]
    return replace_mentions(text, [(places[-1], " and ".join([places[-1].phrase] * STUTTERS))]) if places else ""


def _wrong_names(kind: Kind, oracle: Oracle, facts: QueryFacts) -> list[str]:
    right = facts.right(kind)
    kb = oracle.kb
    if kind == "drug":
        # An indicated drug that this patient must not get is another corruption: unsafe_drug.
        return sorted(drug.name for drug in kb.drugs.values() if drug.id not in right and facts.disease.id not in drug.indications)
    if kind == "test":
        return sorted(test.name for test in kb.tests.values() if test.id not in right)
    fields = {"symptom": ("symptoms", "findings"), "complication": ("complications",), "risk_factor": ("risk_factors",)}[kind]
    phrases = {phrase for disease in kb.diseases.values() for field in fields for phrase in getattr(disease, field)}
    return sorted(phrase for phrase in phrases if phrase.lower() not in right)
