import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.evaluation.robustness.verdicts import verdicts


def sweep(scored="adv", **curves):
    """Rows of one branch's mean AUCs at eps 0, 0.005 and 0.01, by attack and branch."""
    return [
        {
            "variant": "dual_bn",
            "scored": scored,
            "attack": attack,
            "attacked": attacked,
            "eps": eps,
            "finding": "all",
            "auc": auc,
        }
        for name, areas in curves.items()
        for attack, attacked in [name.split("_")]
        for eps, auc in zip((0.0, 0.005, 0.01), areas, strict=True)
    ]


def test_a_branch_that_holds_only_against_its_own_attack_is_told_as_masked():
    (said,) = verdicts(
        sweep(
            pgd_std=(0.9, 0.3, 0.1), pgd_adv=(0.9, 0.85, 0.8), margin_adv=(0.9, 0.84, 0)
        )
    )
    assert said.masked
    assert (said.clean_auc, said.holds_own, said.holds_all) == (0.9, 0.01, 0.0)
    assert said.text == (
        "dual_bn[adv] is robust only while the attack raises the loss and not the "
        "margin: at eps 0.01 its mean AUC is 0.800 under the attack on the loss "
        "through adv, but 0.000 under the attack on the margin through adv (0.900 on "
        "clean images). Its gradients are masked."
    )
    (said,) = verdicts(sweep(pgd_std=(0.9, 0.3, 0.1), pgd_adv=(0.9, 0.85, 0.8)))
    assert said.masked
    assert said.text == (
        "dual_bn[adv] is robust only when attacked through the branch that it is "
        "scored on: at eps 0.01 its mean AUC is 0.800 under the attack on the loss "
        "through adv, but 0.100 under the attack on the loss through std (0.900 on "
        "clean images). Its gradients are masked."
    )


def test_a_branch_that_every_attack_leaves_standing_is_not_masked():
    (said,) = verdicts(
        sweep(
            pgd_std=(0.9, 0.88, 0.8), pgd_adv=(0.9, 0.8, 0.6), margin_adv=(0.9, 0.75, 0)
        )
    )
    assert not said.masked
    assert (said.holds_own, said.holds_all) == (0.005, 0.005)
    assert "up to eps 0.005 under every attack" in said.text


def test_a_branch_that_falls_to_its_own_attack_is_not_robust():
    (said,) = verdicts(
        sweep(scored="std", pgd_std=(0.9, 0.3, 0.1), pgd_adv=(0.9, 0.89, 0.88))
    )
    assert not said.masked
    assert (said.holds_own, said.holds_all) == (0.0, 0.0)
    assert said.text.startswith("dual_bn[std] is not robust")


def test_a_hairs_breadth_between_two_attacks_is_no_masking():
    (said,) = verdicts(sweep(pgd_std=(0.9, 0.69, 0.1), pgd_adv=(0.9, 0.71, 0.2)))
    assert not said.masked
    assert (said.holds_own, said.holds_all) == (0.005, 0.0)


@pytest.mark.parametrize(("clean", "known"), [(0.55, "0.550"), (None, "undefined")])
def test_of_a_network_that_tells_nothing_no_robustness_is_told(clean, known):
    (said,) = verdicts(sweep(pgd_adv=(clean, 0.5, 0.5), pgd_std=(clean, 0.1, 0.1)))
    assert (said.masked, said.holds_own, said.holds_all) == (False, None, None)
    assert "too little to lose" in said.text
    assert known in said.text


def test_an_attack_that_was_tried_at_few_strengths_says_nothing_of_the_others():
    rows = sweep(pgd_std=(0.9, 0.8, 0.5), margin_std=(0.9, 0.0, 0.4), scored="std")
    rows = [row for row in rows if (row["attack"], row["eps"]) != ("margin", 0.005)]
    (said,) = verdicts(rows)
    assert not said.masked
    assert (said.holds_own, said.holds_all) == (0.005, 0.005)


areas = st.tuples(st.just(0.9), st.floats(0, 1), st.floats(0, 1))


@settings(deadline=None)
@given(own=areas, other=areas)
def test_masking_needs_an_attack_that_does_more_than_the_own_one(own, other):
    (said,) = verdicts(sweep(pgd_adv=own, pgd_std=other))
    assert said.holds_all <= said.holds_own
    if all(b >= a for a, b in zip(own, other, strict=True)):
        assert not said.masked
    if said.masked:
        assert any(b < 0.7 <= a for a, b in zip(own, other, strict=True))
