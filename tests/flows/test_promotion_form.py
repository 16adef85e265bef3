"""The form of a promotion: what Prefect's page asks, and what its server refuses before the flow goes on."""

import pytest
from prefect._internal.pydantic.v2_schema import create_v2_schema
from prefect.utilities.schema_tools import ValidationError, validate

from components.registry.assessment import Assessment
from flows.promotion_form import promotion_form

SUITE = {"suite": "verified", "rule": "not worse", "is_passed": True, "candidate": 0.7, "against": 0.6, "difference": 0.1, "lower_bound": 0.07,
         "limit": -0.02, "n": 2400, "sentence": "verified: +10.0 points", "low": 0.06, "high": 0.14, "power": 0.99}  # fmt: skip


def form(**changes):
    suites = [{**SUITE, **changes}]
    verdict = {"is_passed": suites[0]["is_passed"], "compared_with": "champion", "suites": suites, "reasons": [suites[0]["sentence"]]}
    return promotion_form(Assessment("quarkmed", "4", "3", {}, "key", verdict, {}))


def test_it_shows_the_table_with_intervals_and_power_as_markdown():
    text = form()._description
    assert text.startswith("## quarkmed version 4 against version 3, the champion")
    assert "| suite | passed | candidate | interval | power |\n|---|---|---:|---:|---:|\n| verified | yes | 0.700 | [+0.060, +0.140] | 99 % |\n\n- verified: +10.0 points" in text
    assert "overrules" not in text


def test_promoting_what_the_gate_refused_is_called_so():
    assert "**Promoting overrules the gate**" in form(is_passed=False)._description


def schema():
    return create_v2_schema("PromotionDecision", model_base=form())


def test_the_decision_is_a_choice_and_every_field_is_required_and_explained():
    found = schema()
    assert found["properties"]["decision"]["enum"] == ["promote", "reject"]
    assert set(found["required"]) == {"decision", "who", "why"}
    assert all(field["description"] for field in found["properties"].values())


@pytest.mark.parametrize("answer", [
    {"decision": "promote", "who": "", "why": "good"}, {"decision": "promote", "who": "ann", "why": "   "}, {"decision": "promote", "who": "ann"},
    {"decision": "perhaps", "who": "ann", "why": "good"}, {},
])  # fmt: skip
def test_the_server_refuses_an_answer_that_lacks_something(answer):
    with pytest.raises(ValidationError):
        validate(answer, schema(), raise_on_error=True)


def test_the_server_takes_a_whole_answer():
    validate({"decision": "reject", "who": "ann", "why": "not yet"}, schema(), raise_on_error=True)
