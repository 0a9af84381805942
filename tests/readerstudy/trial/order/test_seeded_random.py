"""Random numbers: the same from a seed for good, each equally likely."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from readerstudy.trial.order.seeded_random import Draw


def test_it_draws_from_the_hash_of_the_seed_and_a_counter():
    draw = Draw("seed")
    digests = [sha256(f"seed:{counter}".encode()).digest() for counter in (0, 1)]
    words = [int.from_bytes(word) for word in batches(b"".join(digests), 8)]
    # 2**32 divides the range, so that no word is left out.
    assert [draw.below(2**32) for _ in range(8)] == [word % 2**32 for word in words]


def batches(content, size):
    return [content[start : start + size] for start in range(0, len(content), size)]


@given(st.text(max_size=32), st.lists(st.integers(1, 2**63), min_size=1, max_size=20))
def test_it_draws_below_the_bound(seed, bounds):
    draw = Draw(seed)
    assert all(0 <= draw.below(bound) < bound for bound in bounds)


def test_it_draws_without_favour_when_a_word_does_not_divide():
    """The remainder alone would draw the lower third twice as often as the others."""
    bound = 3 * 2**62
    draw = Draw("seed")
    lower = sum(draw.below(bound) < bound // 3 for _ in range(3000))
    assert 850 < lower < 1150
