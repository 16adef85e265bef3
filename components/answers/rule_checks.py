"""Rules a candidate answer must keep before a reward model may choose it; each failed rule is named and counted.

    unfinished          ran into the length limit, or ends in the middle of a sentence
    empty               no word
    repetitive          a sentence twice, or half of its word 4-grams repeated
    no_citation         a grounded answer cites nothing
    unknown_citation    cites a passage that was not shown (a general answer was shown none)
    off_topic_citation  cites a passage known not to answer, or, where none is known to, one that never names the disease
    unsupported         names a fact that none of the passages it cites states (grounded answers)
    unsafe_drug         recommends a drug the patient must not get
    wrong_subject       names nothing of the knowledge base, or not the disease asked about (general answers)
"""

from collections.abc import Sequence

from components.cases.case import Case
from components.generation.sampler import Completion
from components.retrieval.prompts import CITATION, cited_numbers
from components.rewards.answer_parsing import split_reasoning
from components.rewards.compliance import sentences
from components.rewards.mentions import WORD, Mention, MentionFinder
from components.rewards.oracle import variety

LEAST_VARIETY = 0.5


def broken_rules(case: Case, completion: Completion, finder: MentionFinder, *, unsafe_drugs: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the names of the rules an answer breaks, () where it keeps all.

    Args:
        unsafe_drugs: ids of the drugs this case's patient must not get.
    """
    _, final = split_reasoning(completion.text)
    if not WORD.search(final):
        return ("empty",)
    prose = CITATION.sub("", final)
    mentions = finder.find(prose)
    broken = []
    if completion.finish_reason != "stop" or not final.rstrip().endswith((".", "!", "?", "]")):
        broken.append("unfinished")
    parts = [part.casefold() for part in sentences(prose)]
    if len(set(parts)) < len(parts) or variety(prose, mentions) < LEAST_VARIETY:
        broken.append("repetitive")
    if any(key in unsafe_drugs for mention in mentions if not mention.is_negated for key in mention.keys("drug")):
        broken.append("unsafe_drug")
    broken.extend(_citation_rules(case, final, mentions, finder) if case.passages else _subject_rule(case, final, mentions, finder))
    return tuple(broken)


def _citation_rules(case: Case, final: str, mentions: Sequence[Mention], finder: MentionFinder) -> list[str]:
    cited = cited_numbers(final)
    if not cited:
        return ["no_citation"]
    if any(not 1 <= number <= len(case.passages) for number in cited):
        return ["unknown_citation"]
    asked = _meanings(finder.find(case.prompt.splitlines()[-1]))
    stated = [_meanings(finder.find(case.passages[number - 1].text)) for number in cited]
    broken = []
    if any(passage.is_relevant for passage in case.passages):
        is_off_topic = not all(case.passages[number - 1].is_relevant for number in cited)
    else:
        subjects = {meaning for meaning in asked if meaning[0] == "disease"}
        is_off_topic = bool(subjects) and any(not subjects & meanings for meanings in stated)
    if is_off_topic:
        broken.append("off_topic_citation")
    supported = asked.union(*stated)
    texts = " ".join(case.passages[number - 1].text for number in cited).casefold()
    # A name inside a longer phrase ("low vitamin B12 level") is stated too.
    if any(not supported & set(mention.meanings) and mention.phrase.casefold() not in texts for mention in mentions):
        broken.append("unsupported")
    return broken


def _subject_rule(case: Case, final: str, mentions: Sequence[Mention], finder: MentionFinder) -> list[str]:
    if cited_numbers(final):
        return ["unknown_citation"]
    if not mentions:
        return ["wrong_subject"]
    asked = {key for mention in finder.find(case.prompt) for key in mention.keys("disease")}
    named = {key for mention in mentions for key in mention.keys("disease")}
    return ["wrong_subject"] if asked and not asked & named else []


def _meanings(mentions: Sequence[Mention]) -> set[tuple[str, str]]:
    return {meaning for mention in mentions for meaning in mention.meanings}
