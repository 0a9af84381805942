import numpy as np
import pytest

from mlcore.evaluation.discrimination.curves import precision_recall, roc
from mlcore.evaluation.discrimination.measure import development_cutoffs, measure
from tests.mlcore.evaluation.discrimination.test_measure import some_cases


@pytest.fixture(scope="module")
def measured():
    cases = some_cases(900)
    return measure(cases, development_cutoffs(cases), redraws=2, seed=1)


def test_a_roc_curve_encloses_its_area_and_holds_the_chosen_point(measured):
    curves = roc(measured)
    assert [(each.finding, each.variant) for each in curves] == [
        (finding, variant)
        for finding in ("Edema", "Mass")  # nobody has the gout
        for variant in ("standard", "single_bn", "dual_bn")
    ]
    for number, each in enumerate(curves):
        found = measured.discriminations[number % 3][number // 3]
        assert np.trapezoid(each.y, each.x) == pytest.approx(found.auc, abs=0.002)
        assert each.label == f"AUC {found.auc:.2f}"
        assert len(each.x) <= 500
        assert (each.x[0], each.y[0], each.x[-1], each.y[-1]) == (0, 0, 1, 1)
        assert (1 - each.point[0], each.point[1]) == pytest.approx(
            (found.best.specificity, found.best.sensitivity)
        )


def test_a_precision_recall_curve_ends_at_the_share_of_the_ill(measured):
    for number, each in enumerate(precision_recall(measured)):
        found = measured.discriminations[number % 3][number // 3]
        assert each.label == f"AP {found.ap:.2f}"
        assert (each.x[0], each.y[0], each.x[-1]) == (0, 1, 1)
        assert each.y[-1] == pytest.approx(found.n_pos / found.n)
        assert each.point is None
