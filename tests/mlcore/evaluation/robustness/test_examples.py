import numpy as np
import torch

from mlcore.engine.model.batchnorm import branch as through
from mlcore.evaluation.robustness.examples import EXAMPLE_EPS, attack_examples
from tests.mlcore.evaluation.conftest import IMAGES, loaded, write_marked_table


def test_an_attack_stays_in_its_ball_and_says_what_it_did(table, unlike_runs, cpu):
    examples = attack_examples(table, unlike_runs, device=cpu)
    assert [each.variant for each in examples] == [r.variant for r in unlike_runs]
    for each, run in zip(examples, unlike_runs, strict=True):
        assert each.image_id == "both"
        assert 0 < np.abs(each.attacked - each.image).max() <= EXAMPLE_EPS + 1e-7
        shown = torch.tensor(np.stack([each.image, each.attacked]))[:, None].float()
        with torch.no_grad(), through(run.network, each.branch):
            said = torch.sigmoid(run.network.eval()(shown))
        column = run.classes.index(each.outcome.split()[0])
        before, after = said[:, column].tolist()
        assert each.outcome.endswith(f"{before:.2f} to {after:.2f}")


def test_where_nobody_is_ill_there_is_nothing_to_show(tmp_path, cpu):
    images = {name: IMAGES[name] for name in ("trained", "watched", "well")}
    table = write_marked_table(tmp_path / "marked", images)
    runs = [loaded(table, "standard", tmp_path)]
    assert attack_examples(table, runs, device=cpu) == []
