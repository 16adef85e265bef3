"""Choice of medicines as a JSON list: every drug must be acceptable, none forbidden.

Score = precision × recall, where recall counts at most `required` acceptable drugs (so that one or two suffice and
naming the whole shelf never pays). One forbidden drug makes it 0: a contraindication is not averaged away.
"""

from collections.abc import Mapping
from typing import Any

from components.rewards.answer_parsing import last_field, split_reasoning, strings_of
from components.rewards.verdict import Verdict, abstained


def drug_choice(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade the drugs a text lists.

    Args:
        text: ends with `{"drugs": ["name", …]}`.
        reference: `acceptable` and `forbidden` lists of drug names, `required` (default 1) drugs for full recall.
    """
    _, final = split_reasoning(text)
    drugs = strings_of(last_field(final, "drugs"))
    if not drugs:
        return abstained("no list of drugs")
    forbidden = {name.casefold() for name in reference.get("forbidden", ())}
    if forbidden & set(drugs):
        return Verdict(0.0, "names a contraindicated drug")
    acceptable = {name.casefold() for name in reference["acceptable"]}
    right = len(acceptable & set(drugs))
    precision = right / len(drugs)
    recall = min(1.0, right / int(reference.get("required", 1)))
    return Verdict(precision * recall, f"{right} of {len(drugs)} drugs suitable")
