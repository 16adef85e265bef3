"""Whether an age is the upper bound of a range ("between 1 and 90 years of age"), which describes a disease, no person.

A range has a lower bound: a number, then "to", "and" or a dash. "Diabetic and 95 years old" has none and is a person's
age. Up to three small words may stand between the parts, as an edited text has them ("between 1 and in most cases 90").
"""

import re

REACH = 90  # characters looked back
NO_FILLER = r"(?:an?|the|i|he|she|it|they|we|you|is|was|are|who|now|his|her|my|patient|man|woman|male|female)\b"
FILLERS = rf"(?:as a rule\s+|(?:(?!{NO_FILLER})[a-z]+\s+){{0,3}})"
LED_IN = rf"\b(?:between|from|aged|ages|are)\s+(?:the\s+)?(?:ages?\s+of\s+)?{FILLERS}\d{{1,3}}\s+{FILLERS}(?:and|to|through)\s+{FILLERS}"
PLAIN = rf"(?<![\d/.])\d{{1,3}}(?:\s+years?)?\s*(?:\bto\s+{FILLERS}|\bthrough\s+{FILLERS}|[-–]\s*)"
BEFORE_UPPER_BOUND = re.compile(rf"(?:{LED_IN}|{PLAIN})$", re.IGNORECASE)


def is_upper_bound(text: str, start: int) -> bool:
    """Return whether the age at text[start:] ends a range whose lower bound stands before it."""
    return BEFORE_UPPER_BOUND.search(text[max(0, start - REACH) : start]) is not None
