"""How each suite is scored, and in which order reports show them.

`probes` are scored by likelihood: the option with the highest mean log-probability a token counts as the answer, as in
the harness world; every other suite by sampled text. `format` has no cases of its own: it is read off the answers to
the `verified` and closed-book `exam` cases. `preference` is judged by the oracle over the knowledge base, never by the
reward models that training optimised.
"""

from typing import Literal

Mode = Literal["likelihood", "verifier", "oracle", "derived"]

SUITE_MODES: dict[str, Mode] = {
    "probes": "likelihood",
    "exam": "verifier",
    "verified": "verifier",
    "ability": "verifier",
    "grounded": "verifier",
    "preference": "oracle",
    "format": "derived",
    "safety": "verifier",
}

SUITE_TITLES = {
    "probes": "Knowledge probes",
    "exam": "Examination",
    "verified": "Verified reasoning",
    "ability": "Ability tasks",
    "grounded": "Grounded answers",
    "preference": "General answers (oracle)",
    "format": "Answer format",
    "safety": "Safety",
}

# Suites whose answers also tell whether the answer format is kept.
FORMAT_SOURCES = ("verified", "exam")

CLOSED_BOOK = "closed_book"
RETRIEVAL = "retrieval"
