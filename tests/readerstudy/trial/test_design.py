"""Who sees what when: complete, balanced, spaced, and the same again from its seed."""

from collections import Counter
from hashlib import sha256
from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readerstudy.trial.design import Draw, presentation_order, spacing

seeds = st.text(max_size=32)
numbers_of_cases = st.integers(1, 60)
three_arms = "XYZ"


def order_of(seed, cases, arms=three_arms):
    return presentation_order(seed=seed, cases=range(cases), arms=arms)


def sequences_of(order):
    """For each case its arms, in the order shown."""
    sequences: dict[int, str] = {}
    for case, arm in order:
        sequences[case] = sequences.get(case, "") + arm
    return sequences


@given(seeds, numbers_of_cases, st.integers(2, 4))
def test_it_shows_each_case_under_each_arm_exactly_once(seed, cases, arms):
    order = presentation_order(seed=seed, cases=range(cases), arms=range(arms))
    assert sorted(order) == [
        (case, arm) for case in range(cases) for arm in range(arms)
    ]


@given(seeds, numbers_of_cases)
def test_it_keeps_presentations_of_a_case_apart(seed, cases):
    places: dict[int, list[int]] = {}
    for place, (case, _) in enumerate(order_of(seed, cases)):
        places.setdefault(case, []).append(place)
    distances = [b - a for found in places.values() for a, b in pairwise(found)]
    assert min(distances) >= spacing(cases)


@given(seeds, st.integers(2, 60))
def test_it_never_shows_a_case_twice_in_a_row(seed, cases):
    assert all(a != b for (a, _), (b, _) in pairwise(order_of(seed, cases)))


@pytest.mark.parametrize(
    ("cases", "apart"), [(1, 1), (2, 2), (12, 7), (37, 19), (38, 20), (900, 20)]
)
def test_it_says_how_far_apart(cases, apart):
    assert spacing(cases) == apart


@given(seeds, numbers_of_cases)
def test_it_gives_each_order_of_the_arms_to_equally_many_cases(seed, cases):
    given_to = Counter(sequences_of(order_of(seed, cases)).values())
    counts = [given_to["".join(arms)] for arms in permutations(three_arms)]
    assert max(counts) - min(counts) <= 1


@given(seeds, numbers_of_cases)
def test_any_arm_precedes_any_other_equally_often(seed, cases):
    sequences = sequences_of(order_of(seed, cases)).values()
    for a, b in combinations(three_arms, 2):
        first = sum(arms.index(a) < arms.index(b) for arms in sequences)
        assert abs(first - (cases - first)) <= 1


@given(seeds, numbers_of_cases)
def test_the_same_seed_gives_the_same_order(seed, cases):
    assert order_of(seed, cases) == order_of(seed, cases)


def test_the_order_stands_for_good():
    """Fixed here once: a study's list is recomputed from its seed years later."""
    order = presentation_order(seed="0f" * 16, cases="abcd", arms=three_arms)
    shown = " ".join(case + arm for case, arm in order)
    assert shown == "aX bY cX dZ aY cZ dY bZ cY aZ bX dX"


def test_the_order_rests_on_places_and_not_on_values():
    order = presentation_order(seed="s", cases=["a", "b", "c"], arms=[1, 2, 3])
    other = presentation_order(seed="s", cases=["k", "l", "m"], arms="XYZ")
    names = {"a": "k", "b": "l", "c": "m", 1: "X", 2: "Y", 3: "Z"}
    assert [(names[case], names[arm]) for case, arm in order] == other


def test_every_case_and_every_arm_comes_first_equally_often():
    first = Counter(order_of(f"seed {n}", 4)[0] for n in range(6000))
    assert len(first) == 12
    # 500 expected of each; 6 standard deviations are 128.
    assert all(372 < count < 628 for count in first.values())


def test_every_order_that_keeps_the_distance_is_equally_likely():
    """Against a list of all of them, made by trying every order."""
    gap = spacing(4)
    followers = Counter()
    for n in range(6000):
        cases = [case for case, _ in order_of(f"seed {n}", 4)]
        rank = {case: place for place, case in enumerate(cases[:4])}
        followers[tuple(rank[case] for case in cases[4:8])] += 1
    allowed = [
        order
        for order in permutations(range(4))
        if all(4 - case + place >= gap for place, case in enumerate(order))
    ]
    assert sorted(followers) == allowed
    expected = 6000 / len(allowed)
    spread = 6 * expected**0.5
    assert all(abs(count - expected) < spread for count in followers.values())


def test_it_refuses_a_single_arm():
    with pytest.raises(ValueError, match="two arms"):
        presentation_order(seed="s", cases="ab", arms="X")


def test_it_draws_from_the_hash_of_the_seed_and_a_counter():
    draw = Draw("seed")
    digests = [sha256(f"seed:{counter}".encode()).digest() for counter in (0, 1)]
    words = [int.from_bytes(word) for word in batches(b"".join(digests), 8)]
    # 2**32 divides the range, so that no word is left out.
    assert [draw.below(2**32) for _ in range(8)] == [word % 2**32 for word in words]


def batches(content, size):
    return [content[start : start + size] for start in range(0, len(content), size)]


@given(seeds, st.lists(st.integers(1, 2**63), min_size=1, max_size=20))
def test_it_draws_below_the_bound(seed, bounds):
    draw = Draw(seed)
    assert all(0 <= draw.below(bound) < bound for bound in bounds)


def test_it_draws_without_favour_when_a_word_does_not_divide():
    """The remainder alone would draw the lower third twice as often as the others."""
    bound = 3 * 2**62
    draw = Draw("seed")
    lower = sum(draw.below(bound) < bound // 3 for _ in range(3000))
    assert 850 < lower < 1150
