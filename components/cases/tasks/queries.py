"""Users' queries by what they are after: phrasings that comprehension tasks classify and compare."""

from random import Random

INTENTS: dict[str, tuple[str, ...]] = {
    "treatment": ("How is {} treated?", "What can I take for {}?", "Best medicine against {}?", "What helps {}?"),
    "tests": ("How is {} diagnosed?", "Which tests show {}?", "How do doctors check for {}?", "What test finds {}?"),
    "symptoms": ("What are the signs of {}?", "How does {} show itself?", "What does {} feel like?", "How would I notice {}?"),
    "complications": ("What can {} lead to?", "Is {} dangerous later?", "What goes wrong with {}?", "What harm can {} do?"),
    "risk factors": ("Who gets {}?", "What makes {} more likely?", "Why do people get {}?", "Who is at risk of {}?"),
}


def draw_query(name: str, random: Random) -> tuple[str, str]:
    """Draw an intent and a query with it about a named disease."""
    intent = random.choice(tuple(INTENTS))
    return intent, query_text(random.choice(INTENTS[intent]), name)


def query_text(phrasing: str, name: str) -> str:
    """Fill a phrasing with the disease's name."""
    return phrasing.format(name)
