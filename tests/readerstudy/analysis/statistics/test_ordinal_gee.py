"""The cumulative logit model against a logistic regression of stacked indicators."""

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.genmod.cov_struct import Independence
from statsmodels.genmod.generalized_estimating_equations import OrdinalGEE

from readerstudy.analysis.statistics.ordinal_gee import Fit, fit
from readerstudy.analysis.tables.ordinal_model import ordinal_model
from tests.readerstudy.analysis.rating_tables import (
    one_reader,
    ratings_of,
    row_of,
    rows_of,
)
from tests.readerstudy.analysis.timed import timed_study


def fit_to(ratings, terms=()):
    return fit(ratings.values, ratings.dataset_of_image, np.array(True), terms)


def noise(seed, spread=1.2):
    """Ratings with an effect of the image, of the variant and of chance."""
    rng = np.random.default_rng(seed)
    image_effects = rng.normal(0, 0.8, 200)

    def rate(reader, image, variant, *_):
        latent = 1.2 + image_effects[image] + 0.6 * variant + 0.3 * reader
        return int(np.clip(np.rint(latent + rng.normal(0, spread)), 0, 5))

    return rate


@pytest.fixture(scope="module")
def study():
    return timed_study(noise(1))


def stacked(ratings):
    """Logistic regression of "above level" for each level, images as clusters."""
    readers, images, variants = np.nonzero(~np.isnan(ratings.values))
    levels = ratings.values[readers, images, variants]
    cuts = np.unique(levels)[:-1]
    design = np.column_stack(
        [variants == 1, variants == 2]
        + [readers == r for r in range(1, len(ratings.readers))]
    )
    above = np.concatenate([levels > cut for cut in cuts]).astype(float)
    thresholds = np.repeat(np.eye(len(cuts)), len(levels), axis=0)
    exog = np.hstack([np.tile(design, (len(cuts), 1)), thresholds]).astype(float)
    model = sm.GLM(above, exog, family=sm.families.Binomial())
    return model.fit(
        cov_type="cluster",
        cov_kwds={"groups": np.tile(images, len(cuts)), "use_correction": False},
        tol=1e-12,
    )


def test_it_is_a_logistic_regression_of_stacked_indicators(study):
    ours, theirs = fit_to(study), stacked(study)

    assert ours.beta == pytest.approx(theirs.params[:2], rel=1e-6)
    covariance = theirs.cov_params()[:2, :2]
    np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-6)


def test_it_is_the_ordinal_gee_of_statsmodels(study):
    """Fitted rating by rating, as a whole: this takes a hundred times as long."""
    readers, images, variants = np.nonzero(~np.isnan(study.values))
    design = np.column_stack(
        [variants == 1, variants == 2]
        + [readers == r for r in range(1, len(study.readers))]
    )
    theirs = OrdinalGEE(
        study.values[readers, images, variants],
        design.astype(float),
        groups=images,
        cov_struct=Independence(),
    ).fit(ctol=1e-10)
    ours, terms = fit_to(study), design.shape[1]

    thresholds = len(theirs.params) - terms
    place = slice(thresholds, thresholds + 2)
    assert ours.beta == pytest.approx(theirs.params.to_numpy()[place], rel=1e-6)
    np.testing.assert_allclose(
        ours.covariance, np.asarray(theirs.cov_params())[place, place], rtol=1e-6
    )


def test_a_map_that_is_rated_higher_has_the_higher_odds(study):
    rows = ordinal_model(study)
    row = row_of(rows, dataset="xray", pair="SSM-SDBN", ratings="all")

    assert row["log_odds"] < 0
    assert 0 < row["OR_lo"] < row["OR"] < row["OR_hi"] < 1
    assert row["p"] < 0.001
    assert row["significant_001"]


def test_the_three_pairs_make_a_triangle(study):
    rows = ordinal_model(study)
    first, whole, second = (
        row_of(rows, dataset="xray", pair=pair, ratings="all")["log_odds"]
        for pair in ("SSM-SSBN", "SSM-SDBN", "SSBN-SDBN")
    )

    assert first + second == pytest.approx(whole)


def test_variants_that_readers_cannot_tell_are_rarely_called_different():
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        images = rng.normal(0, 1.2, 40)

        def rate(reader, image, *_, rng=rng, images=images):
            return int(np.clip(np.rint(2.5 + images[image] + rng.normal()), 0, 5))

        result = fit_to(timed_study(rate, readers=3, seed=seed))
        p_values.append(result.wald(np.array([[0, 1]]))[2])
    # 60 tests at 0.05 reject 3 on average; 9 or more in one of 500 such runs.
    assert sum(p < 0.05 for p in p_values) < 9


def test_first_ratings_are_one_of_each_case(study):
    row = row_of(ordinal_model(study), dataset="xray", pair="SSM-SDBN", ratings="first")

    assert (row["n"], row["n_images"]) == (4 * 40, 40)
    assert row["p"] is not None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (one_reader(*[(2, 2, 2)] * 30), "all ratings are the same"),
        (one_reader((None, 1, 2)), "no rating"),
        (one_reader(*[(0, 1, 5)] * 30), "some odds are infinite"),
        (one_reader((0, 1, 2), (3, 1, 0)), "2 images are too few for 5 coefficients"),
        (
            one_reader(*[(0, 1, 2), (3, 1, 0)] * 20)
            + rows_of({("R2", "xray", f"i{i}"): (0, 0, 0) for i in range(40)}),
            "some odds are infinite",
        ),
    ],
    ids=["all tied", "a variant never rated", "separated", "few", "a reader of zeros"],
)
def test_what_the_model_cannot_say_is_null_with_the_reason(rows, reason):
    for row in ordinal_model(ratings_of(rows)):
        if row["ratings"] == "all":
            assert row["reason"].startswith(reason)
        else:
            assert row["reason"] == "the table has no positions"
        assert row["p"] is row["OR"] is None
        assert not row["tested"]


@pytest.mark.parametrize("rounding", [0, 1e-17, -1e-17])
def test_a_variance_that_is_only_rounding_gives_no_test(rounding):
    covariance = np.array([[rounding, -3e-15], [-3e-15, 1.2]])
    result = Fit(60, 10, beta=np.array([4e-16, 1.2]), covariance=covariance)

    assert result.wald(np.array([[1.0, 0]])) is None
    assert result.wald(np.array([[1.0, -1]])) is not None
    assert result.wald(np.eye(2)) is None


def test_variants_with_the_same_ratings_throughout_have_no_odds_between_them():
    noise = np.random.default_rng(2).integers(0, 4, 40)
    ratings = ratings_of(
        one_reader(*[(int(x), int(x), int(x) + i % 2) for i, x in enumerate(noise)])
    )
    row = row_of(ordinal_model(ratings), dataset="all", pair="SSM-SSBN", ratings="all")

    assert row["OR"] is row["p"] is None
    assert "have no standard error" in row["reason"]


def test_a_term_that_is_another_one_is_not_told_apart(study):
    second = np.arange(3) == 1
    result = fit_to(study, [second])

    assert result.beta is None
    assert result.reason == "the ratings do not tell its terms apart"
