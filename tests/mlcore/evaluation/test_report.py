import csv
import json

import pytest

from mlcore.evaluation.report import write_evaluation

TABLES = {
    "areas": [
        {"finding": "Nodule", "auc": 0.75},
        {"finding": 'Heart, "large"', "auc": None, "reason": "no positive"},
    ],
    "nothing": [],
}
RUN = {"seed": 1, "runs": {"standard": "standard-1a2b3c4d"}}


def test_the_tables_lie_in_one_file_and_beside_it(tmp_path):
    write_evaluation(tmp_path / "new" / "report", TABLES, RUN)
    folder = tmp_path / "new" / "report"
    assert json.loads((folder / "evaluation.json").read_text()) == TABLES | {"run": RUN}
    with (folder / "areas.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"finding": "Nodule", "auc": "0.75", "reason": ""},
            {"finding": 'Heart, "large"', "auc": "", "reason": "no positive"},
        ]
    assert (folder / "nothing.csv").read_text().strip() == ""
    assert len(list(folder.iterdir())) == 3


def test_a_number_keeps_every_digit(tmp_path):
    third = 1 / 3
    write_evaluation(tmp_path, {"t": [{"value": third}]}, {})
    assert float((tmp_path / "t.csv").read_text().splitlines()[1]) == third


def test_the_summary_is_not_written_without_its_tables(tmp_path, monkeypatch):
    write_evaluation(tmp_path, TABLES, RUN)
    before = (tmp_path / "evaluation.json").read_bytes()
    (tmp_path / "other.csv").mkdir()  # in the way of a table
    with pytest.raises(OSError, match=r"other\.csv"):
        write_evaluation(tmp_path, {"other": [{"a": 1}]}, {})
    assert (tmp_path / "evaluation.json").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_value_that_is_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evaluation(tmp_path, {"t": [{"auc": float("nan")}]}, {})
    assert not (tmp_path / "evaluation.json").exists()
