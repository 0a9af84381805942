import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.datasets.splits import SHARES, assign_splits


@st.composite
def cohorts(draw):
    """Patients of a few images each, labels with gaps, and some forced patients."""
    patients = draw(st.lists(st.integers(0, 12).map(str), min_size=1, max_size=40))
    width = draw(st.integers(1, 4))
    value = st.sampled_from([0.0, 1.0, float("nan")])
    row = st.lists(value, min_size=width, max_size=width)
    labels = [draw(row) for _ in patients]
    forced = draw(st.sets(st.sampled_from(patients), max_size=3))
    return patients, np.array(labels, np.float32), forced, draw(st.integers(0, 2**32))


def split(patients, labels, forced, seed):
    rng = np.random.default_rng(seed)
    return assign_splits(patients, labels, rng=rng, in_test=forced)


@settings(deadline=None)
@given(cohorts())
def test_every_image_has_one_split_and_no_patient_two(cohort):
    patients, labels, forced, seed = cohort
    splits = split(patients, labels, forced, seed)

    assert len(splits) == len(patients)
    assert set(splits) <= set(SHARES)
    assert len(set(zip(patients, splits, strict=True))) == len(set(patients))


@settings(deadline=None)
@given(cohorts())
def test_forced_patients_are_in_test(cohort):
    patients, labels, forced, seed = cohort
    splits = split(patients, labels, forced, seed)

    of_forced = {s for p, s in zip(patients, splits, strict=True) if p in forced}
    assert of_forced <= {"test"}


@settings(deadline=None)
@given(cohorts())
def test_no_split_is_empty_where_there_are_patients_enough(cohort):
    patients, labels, forced, seed = cohort
    splits = split(patients, labels, forced, seed)

    needed = 2 if forced else 3
    if len(set(patients) - forced) >= needed:
        assert set(splits) == set(SHARES)


@settings(deadline=None)
@given(cohorts(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(cohort, random):
    patients, labels, forced, seed = cohort
    order = list(range(len(patients)))
    random.shuffle(order)
    shuffled = [patients[i] for i in order]

    first = dict(zip(patients, split(patients, labels, forced, seed), strict=True))
    second = split(shuffled, labels[order], forced, seed)
    assert first == dict(zip(shuffled, second, strict=True))


def cohort_of(images, findings, seed):
    rng = np.random.default_rng(seed)
    patients = [str(number) for number in rng.integers(0, images // 3, images)]
    return patients, (rng.random((images, len(findings))) < findings).astype(np.float32)


def test_images_and_every_finding_are_divided_by_the_shares():
    patients, labels = cohort_of(3000, (0.3, 0.1, 0.02), seed=1)
    splits = np.array(split(patients, labels, (), 2))

    for name, share in SHARES.items():
        here = splits == name
        assert abs(here.mean() - share) < 0.01
        positives = labels[here].sum(axis=0) / labels.sum(axis=0)
        # A positive or two of the rarest finding may be in the wrong place.
        assert np.abs(positives - share).max() < 2 / labels.sum(axis=0).min()


def test_another_seed_gives_another_split():
    patients, labels = cohort_of(300, (0.3, 0.1), seed=1)

    assert split(patients, labels, (), 1) == split(patients, labels, (), 1)
    assert split(patients, labels, (), 1) != split(patients, labels, (), 2)


def test_forced_patients_count_towards_their_share():
    patients, labels = cohort_of(3000, (0.3,), seed=1)
    forced = sorted(set(patients))[:80]
    splits = np.array(split(patients, labels, forced, 1))

    assert abs((splits == "test").mean() - SHARES["test"]) < 0.01


def test_a_handful_of_patients_fills_every_split():
    labels = np.ones((3, 1), np.float32)

    assert set(split(["a", "b", "c"], labels, (), 1)) == {"train", "dev", "test"}


def test_as_many_patients_as_in_chexpert_are_divided_evenly():
    """That takes half a second; comparing patients with each other would not do."""
    rng = np.random.default_rng(5)
    shares = {"train": 6 / 7, "dev": 1 / 7}
    every = np.arange(64_534)
    # Few patients have many images, as in a hospital.
    more = rng.choice(every, 191_027 - len(every), p=rng.dirichlet(np.ones(len(every))))
    patients = [f"patient{number:05}" for number in (*every, *more)]
    prevalence = rng.uniform(0.02, 0.5, 14)
    labels = (rng.random((191_027, 14)) < prevalence).astype(np.float32)

    splits = np.array(assign_splits(patients, labels, rng=rng, shares=shares))

    dev = splits == "dev"
    assert len(set(zip(patients, splits.tolist(), strict=True))) == len(every)
    assert abs(dev.mean() - 1 / 7) < 0.001
    positive = labels[dev].sum(axis=0) / labels.sum(axis=0)
    assert np.abs(positive - 1 / 7).max() < 0.001
