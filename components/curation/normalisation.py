"""Text made uniform before it is read and after it is de-identified.

`align_characters` keeps every offset (full-width digits, exotic spaces and quotes become plain), so that spans found in
it are spans of the raw text. `clean_text` may shorten.
"""

import re
import unicodedata

SPACES = {code: " " for code in (0x00A0, 0x2002, 0x2003, 0x2007, 0x2009, 0x202F)}
QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2010: "-", 0x2011: "-"}
FULL_WIDTH = {
    code: chr(code - 0xFEE0)
    for code in [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B), 0xFF20, 0xFF0D]
}
ALIGNED = {**SPACES, **QUOTES, **FULL_WIDTH}
SURROGATE = re.compile(r"\[[A-Z][A-Z_0-9]+-\d+\]")
INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060\ufeff\u00ad]|[\x00-\x08\x0b-\x1f\x7f]")
CHINESE = re.compile(r"[一-龥]")


def align_characters(text: str) -> str:
    """Replace look-alike characters one by one; the length never changes."""
    return text.translate(ALIGNED)


def clean_text(text: str) -> str:
    """Return the text in canonical composition without control characters, runs of spaces or empty lines."""
    composed = unicodedata.normalize("NFC", align_characters(text.replace("\r\n", "\n").replace("\r", "\n")))
    lines = (re.sub(r"[ \t　]+", " ", line).strip() for line in INVISIBLE.sub("", composed).split("\n"))
    return "\n".join(line for line in lines if line)


def shingle_words(text: str) -> list[str]:
    """Return the units of shingles and word counts: words, or characters where a text is mostly Chinese; no surrogates."""
    text = SURROGATE.sub(" ", text)
    characters = CHINESE.findall(text)
    if 2 * len(characters) > len(text):
        return characters
    return re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text.casefold())
