"""Quality filters: each keeps a document, or drops it with a reason (rules in the way of Gopher and C4).

A filter is a function of a document and the settings that returns None to keep, or why not.
"""

# ruff: noqa: SIM905  (a word list reads better as text)
import re
from collections import Counter
from collections.abc import Callable

from components.curation.normalisation import shingle_words
from components.documents import Document
from components.settings.data import CurateSettings

Filter = Callable[[Document, CurateSettings], str | None]

BOILERPLATE = (
    "accept all cookies", "click here", "all rights reserved", "subscribe to our", "terms of service", "privacy policy", "share this page",
    "lorem ipsum", "enable javascript", "log in to continue",
)  # fmt: skip
MEDICAL_WORDS = frozenset(
    """
    patient patients doctor hospital clinic disease diseases diagnosis symptom symptoms sign signs treatment treated treat therapy drug drugs
    medicine medicines dose doses tablet adults adult children pregnancy elderly pain fever cough blood heart lung lungs liver kidney renal skin
    brain bone joint joints stomach bowel chest breath infection bacterial viral chronic acute test tests examination findings icd-10 code
    contraindicated contraindications interacts allergy risk complications nausea vomiting headache swelling rash ulcer cancer tumour tumor
    diabetes hypertension asthma pneumonia anaemia anemia stroke antibiotic antibiotics insulin vaccine surgery pressure glucose serum urine
    culture scan imaging x-ray ultrasound mri ct biopsy nurse care clinical prescribed prescribe oral intravenous medical health weakness
    note investigations investigated admission admitted discharge prescribed complaints complains chart assessment impression ward prescription
    medication allergic nausea cardiac mucus sputum spinal thyroid hormone genital eye eyes ear ears throat nose bladder muscle muscles
    """.split()
)  # fmt: skip
MEDICAL_ENDING = re.compile(
    r"(?:itis|osis|aemia|emia|uria|ectomy|pathy|algia|oma|plegia|pnoea|pnea|scopy|gram|graphy|cillin|mycin|pril|olol|sartan|statin|azole|idine)$"
)
CHINESE_MEDICAL = re.compile(r"[病症疗药医诊痛炎血肿瘤癌肺肝肾心脑胃肠院服剂]")


def too_short(document: Document, settings: CurateSettings) -> str | None:
    """Drop what has fewer words than a sentence or two needs."""
    count = len(shingle_words(document.text))
    return f"{count} words, fewer than {settings.minimum_words}" if count < settings.minimum_words else None


def symbols(document: Document, settings: CurateSettings) -> str | None:
    """Drop text that is largely neither letters, digits nor spaces."""
    odd = sum(
        not (character.isalnum() or character.isspace() or character in ".,;:()'\"-/?!%。，：；、（）？！")
        for character in document.text
    )
    share = odd / max(len(document.text), 1)
    return (
        f"symbol share {share:.2f} above {settings.maximum_symbol_share}"
        if share > settings.maximum_symbol_share
        else None
    )


def repeated_lines(document: Document, settings: CurateSettings) -> str | None:
    """Drop text whose lines are mostly repeats of each other."""
    lines = [line.strip() for line in document.text.split("\n") if line.strip()]
    repeats = sum(count - 1 for count in Counter(lines).values())
    share = repeats / max(len(lines), 1)
    return (
        f"repeated-line share {share:.2f} above {settings.maximum_repeated_line_share}"
        if share > settings.maximum_repeated_line_share
        else None
    )


def boilerplate(document: Document, settings: CurateSettings) -> str | None:
    """Drop pages that carry two or more stock phrases of web sites."""
    text = document.text.casefold()
    found = sum(phrase in text for phrase in BOILERPLATE)
    return f"{found} stock phrases of web pages" if found >= 2 else None


def off_topic(document: Document, settings: CurateSettings) -> str | None:
    """Drop text with too small a share of medical words."""
    words = shingle_words(document.text)
    medical = sum(
        word in MEDICAL_WORDS or bool(MEDICAL_ENDING.search(word) or CHINESE_MEDICAL.search(word)) for word in words
    )
    share = medical / max(len(words), 1)
    return (
        f"medical-word share {share:.3f} below {settings.minimum_medical_share}"
        if share < settings.minimum_medical_share
        else None
    )


def language(document: Document, settings: CurateSettings) -> str | None:
    """Drop languages the run does not train on; de-identification was measured on them all the same."""
    return (
        None if document.language in settings.languages else f"language {document.language!r} not in curate.languages"
    )


FILTERS: dict[str, Filter] = {
    "language": language,
    "too_short": too_short,
    "symbols": symbols,
    "repeated_lines": repeated_lines,
    "boilerplate": boilerplate,
    "off_topic": off_topic,
}


def first_objection(document: Document, settings: CurateSettings) -> tuple[str, str] | None:
    """Return (filter, reason) of the first filter that drops the document, or None."""
    for name, check in FILTERS.items():
        reason = check(document, settings)
        if reason is not None:
            return name, reason
    return None
