"""Shares of a step's items: whole, balanced, in order; idle passes even the ranks out."""

from components.training.engines.sharing import planned_passes, shares_by_tokens


def test_one_rank_takes_all_items_as_they_come():
    assert shares_by_tokens([3, 9, 1], tokens=int, ranks=1) == [[3, 9, 1]]


def test_shares_are_balanced_by_tokens_and_keep_the_order():
    # Largest first to the emptier rank: 8 → a, 7 → b, 5 → b (7 < 8), 4 → a (8 < 12), 1 → b (12 = 12: the first of them, a).
    assert shares_by_tokens([5, 8, 1, 7, 4], tokens=int, ranks=2) == [[8, 1, 4], [5, 7]]


def _plan(items, is_even):
    return planned_passes(items, tokens=int, cut=lambda share: [[item] for item in share], ranks=2, is_even=is_even)


def test_ranks_with_fewer_passes_run_idle_ones_where_passes_are_collective():
    first, second = _plan([9, 2, 3, 4], True)  # 9 against 4 + 3 + 2
    assert [part.items for part in first] == [[9], [2], [2]]
    assert [part.is_counted for part in first] == [True, False, False]
    assert [part.is_counted for part in second] == [True, True, True]


def test_a_rank_may_have_no_pass_where_they_are_its_own():
    first, second = _plan([9], False)
    assert ([part.items for part in first], second) == ([[9]], [])
