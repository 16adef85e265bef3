"""Identifiers that show by their form alone: mail and web addresses, telephone and identity numbers, dates, ages.

English and Chinese. Numbers that only their neighbourhood tells apart (a chart number, a policy number) are in
`context.py`. Doses, blood pressures, laboratory values, ages below 90 and bare years are left alone.
"""

import re
from collections.abc import Iterator

from components.curation.age_ranges import is_upper_bound
from components.curation.deidentification.spans import Span

MONTH = r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
DAY = r"(?:0?[1-9]|[12]\d|3[01])"
MONTH_NUMBER = r"(?:0?[1-9]|1[0-2])"
YEAR = r"(?:19|20)\d{2}"
UNITS = r"(?!\s?(?:mg|mcg|ml|mL|g|kg|mm|cm|%|mmHg|units|bpm|mmol))"

PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "EMAIL": (re.compile(r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),),
    "URL": (
        re.compile(
            r"(?:https?://|www\.)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?(?:/(?:[A-Za-z0-9_~%&=?./#+-]*[A-Za-z0-9_~/#=])?)?"
        ),
        # Not behind a lone capital: letter and numbers are a code (G41.1), however many numbers a model may write after it.
        # Four single digits are let pass, though 8.8.8.8 is an address: in these texts they are a section (4.2.1.3) or a model repeating itself.
        re.compile(r"(?<![\d.])(?<!\b[A-Z])(?=(?:\d\.){0,3}\d\d)(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]\d)"),
    ),
    "DATE": (
        re.compile(rf"\b{MONTH} {DAY}(?:st|nd|rd|th)?,? {YEAR}\b"),
        re.compile(rf"\b{DAY}(?:st|nd|rd|th)? (?:of )?{MONTH},? {YEAR}\b"),
        re.compile(rf"\b{DAY}-{MONTH}-(?:{YEAR}|\d\d)\b", re.IGNORECASE),
        re.compile(rf"\b{MONTH},? {YEAR}\b"),
        re.compile(rf"\b{MONTH} {DAY}(?:st|nd|rd|th)?\b(?!\d|[.,/]\d|\s?(?:mg|ml|%|months|weeks|days))"),
        re.compile(rf"\b(?:the )?{DAY}(?:st|nd|rd|th)? (?:of )?{MONTH}(?!\w)"),
        re.compile(rf"(?<![\d/.-]){YEAR}[-/.]{MONTH_NUMBER}[-/.]{DAY}(?![\d/-]|\.\d)"),
        re.compile(rf"(?<![\d/.-]){MONTH_NUMBER}([-/.]){DAY}\1(?:{YEAR}|\d\d)(?![\d/-]|\.\d){UNITS}"),
        re.compile(rf"(?<![\d/.-]){DAY}([-/.]){MONTH_NUMBER}\1(?:{YEAR}|\d\d)(?![\d/-]|\.\d){UNITS}"),
        re.compile(rf"(?:(?<=on )|(?<=seen )|(?<=dated )|(?<=since )){MONTH_NUMBER}/{DAY}(?![\d/%]){UNITS}"),
        re.compile(rf"{YEAR}年(?:{MONTH_NUMBER}月(?:{DAY}[日号]?)?)"),
        re.compile(rf"(?<!\d){MONTH_NUMBER}月{DAY}[日号]"),
    ),
    "AGE_OVER_89": (
        re.compile(
            r"(?<!\bover )(?<![\d./])(?:9\d|1[01]\d)[ -]?(?:years?[ -]old|yrs?[ -]old|y/o|y\.o\.|yo\b|years? of age)",
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:ninety|one hundred)(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?[- ]years?[- ]old",
            re.IGNORECASE,
        ),
        re.compile(r"(?<![\d.])(?:9\d|1[01]\d) ?(?:周?岁|歲)"),
    ),
    "PHONE": (
        re.compile(r"(?<![\w.+-])\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?![\w-])"),
        re.compile(r"(?<![\w.-])(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}(?: ?(?:ext\.?|x) ?\d{1,5})?(?![\w-])"),
        re.compile(r"(?<![\w.-])(?:1[.-])?\d{3}([.-])\d{3}\1\d{4}(?: ?(?:ext\.?|x) ?\d{1,5})?(?![\w-])"),
        re.compile(r"(?<![\d.-] )(?<![\w.-])(?:0\d{2,3}(?: \d{2,4}){2,3}|\d{3} \d{3} \d{4})(?![\w-]| \d)"),
        re.compile(r"(?<![\d-])1[3-9]\d([ -]?)\d{4}\1\d{4}(?![\d-])"),
        re.compile(r"(?<![\d-])(?:[（(]0\d{2,3}[）)]|0\d{2,3}-)\d{7,8}(?:转\d{1,5})?(?!\d)"),
    ),
    "ID": (
        re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
        re.compile(r"(?<!\d)[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"),
    ),
    "ACCOUNT": (
        re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:[A-Za-z]{4}\d{7,22}|\d{14,24}|(?: [A-Za-z0-9]{4}){3,7})(?!\w)"),
    ),
}
CARD = re.compile(r"(?<![\w-])\d{4}([ -]?)\d{4}\1\d{4}\1\d{4}(?![\w-])")


def find_patterns(text: str) -> Iterator[Span]:
    """Yield every identifier that shows by its form."""
    for kind, patterns in PATTERNS.items():
        for pattern in patterns:
            for match in pattern.finditer(text):
                if kind != "AGE_OVER_89" or not is_upper_bound(text, match.start()):
                    yield Span(match.start(), match.end(), kind)
    for match in CARD.finditer(text):
        if passes_luhn(match.group()):
            yield Span(match.start(), match.end(), "ACCOUNT")


def passes_luhn(number: str) -> bool:
    """Return whether the digits have a valid check digit (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in number if character.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
