"""Rule-based annotation of chosen answers: one form for citations, sentences and the closing advice (report §3.2).

    citations   "[1], [2]" and "[1,2]" become "[1][2]"; each once a sentence; before the full stop
    sentences   single spaces, a capital first, a full stop last, no sentence twice
    advice      a general answer ends by saying when to see a doctor
"""

import re

CARE_SENTENCE = "See a doctor if it gets worse."
GROUP = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})+)\]")
RUN = re.compile(r"\[\d{1,3}\](?:\s*,?\s*\[\d{1,3}\])*")
BEFORE_STOP = re.compile(r"([.!?])\s*((?:\[\d{1,3}\])+)")
SENTENCE = re.compile(r"(?:[^.!?]|(?<=\d)\.(?=\d))+[.!?]*")  # the point of a decimal number ends nothing


def annotate(text: str, *, is_general: bool, has_care_advice: bool = True) -> str:
    """Return an answer in the house form; its content is not changed but for the closing advice.

    Args:
        is_general: the answer is to a general query, so it closes with the advice to see a doctor.
        has_care_advice: whether the answer gives such advice already.
    """
    text = RUN.sub(_merge, GROUP.sub(lambda match: "".join(f"[{number}]" for number in re.findall(r"\d+", match.group(1))), text))
    text = BEFORE_STOP.sub(r" \2\1", text)
    kept: list[str] = []
    for part in SENTENCE.findall(" ".join(text.split())):
        sentence = part.strip()
        if sentence.strip(".!? "):
            sentence = sentence[0].upper() + sentence[1:]
            sentence = sentence if sentence[-1] in ".!?" else f"{sentence}."
            if sentence not in kept:
                kept.append(sentence)
    if is_general and not has_care_advice:
        kept.append(CARE_SENTENCE)
    return " ".join(kept)


def _merge(match: re.Match[str]) -> str:
    return "".join(f"[{number}]" for number in dict.fromkeys(re.findall(r"\d+", match.group())))
