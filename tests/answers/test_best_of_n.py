"""Choosing, comparing, reviewing."""

import csv

import pytest

from components.answers.best_of_n import Candidate, Query, choose
from components.answers.comparison import compare_choices
from components.answers.review import review_row, write_review_csv
from components.cases.case import Case
from components.conversations import Message


def case(name: str) -> Case:
    return Case(
        id=name, split="train", suite="preference", task="t", group="g", cluster=name, entities=(name,), combination="x", template="t",
        messages=(Message(role="user", content="Q?"),), answer="Gold.", verifier="oracle",
    )  # fmt: skip


def candidate(text: str, honesty: float, helpfulness: float, broken: tuple[str, ...] = ()) -> Candidate:
    return Candidate(text, broken, {} if broken else {"honesty": honesty, "helpfulness": helpfulness})


def test_the_mean_of_standardised_rewards_decides_not_their_scale():
    # helpfulness spreads 100 times as wide; standardised, a = (1, -1), b = (-1, 1), c = (0, 0) times sqrt(1.5): a tie at 0
    # but for d of another case; with honesty of c raised to 0.5, c wins
    group = [candidate("a", 1, -100), candidate("b", -1, 100), candidate("c", 0.5, 0)]
    assert choose([case("x")], [group])[0].chosen == 2


def test_a_candidate_that_breaks_a_rule_is_never_chosen_and_ties_go_to_the_first():
    groups = [[candidate("bad", 9, 9, ("empty",)), candidate("a", 1, 1), candidate("b", 1, 1)], [candidate("bad", 0, 0, ("empty",))]]
    assert [query.chosen for query in choose([case("x"), case("y")], groups)] == [1, None]


def test_comparison_sets_the_choice_beside_first_random_and_ceiling():
    # judge = length of the text / 10: texts of 1, 4, 2 letters -> first .1, chosen .2, random .2333, ceiling .4
    queries = [Query(case(name), (candidate("a", 0, 0), candidate("bbbb", 0, 0), candidate("cc", 0, 0)), 2) for name in "xyz"]
    report = compare_choices(queries, lambda _, text: len(text) / 10, seed=0)
    assert report["best_of_n"]["value"] == pytest.approx(0.2)
    assert report["first"]["value"] == pytest.approx(0.1)
    assert report["random"]["value"] == pytest.approx(7 / 30)
    assert report["ceiling"]["value"] == pytest.approx(0.4)
    assert report["best_of_n_minus_first"]["value"] == pytest.approx(0.1)


def test_the_fallback_lends_the_comparison_nothing():
    queries = [Query(case("x"), (candidate("a", 0, 0, ("empty",)), candidate("bbbb", 0, 0, ("empty",))), None)]
    report = compare_choices(queries, lambda _, text: len(text) / 10, seed=0)
    assert report["best_of_n"]["value"] == report["first"]["value"] == pytest.approx(0.1)


def test_the_experts_sheet_is_csv_in_which_no_cell_is_a_formula(tmp_path):
    query = Query(case("x"), (candidate("best", 0, 0), candidate("other", 0, 0), candidate("other", 0, 0)), 0)
    row = review_row(query, "=HYPERLINK(1)", passages=["[1] (A) text"], documents=["book-1"], key_points=["drug: a, b"])
    write_review_csv(tmp_path / "review.csv", [row])
    read = next(csv.DictReader((tmp_path / "review.csv").open()))
    assert read["chosen_answer"] == "'=HYPERLINK(1)"
    assert (read["other_candidates"], read["key_points"], read["verdict"]) == ("other", "drug: a, b", "")
