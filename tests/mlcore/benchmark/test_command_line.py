import json
import os
import platform
import subprocess
import sys
from functools import partial
from itertools import islice

import pytest
import torch

from mlcore.benchmark import data, measure
from mlcore.benchmark.command_line import benchmark, main
from mlcore.benchmark.data import BATCHES, augmented_batches
from mlcore.benchmark.measure import RUNGS, SUBJECTS, PeakMemory, empty_row
from mlcore.benchmark.roofline import measure_ceilings
from mlcore.engine.config import PRESETS
from mlcore.engine.model.objectives import VARIANTS
from mlcore.engine.training import learner
from mlcore.engine.training.augment import augment

pytestmark = pytest.mark.slow

TINY = {
    "device": "cpu",
    "network": "resnet10",
    "size": 32,
    "batch_size": 4,
    "steps": 1,
    "repeats": 2,
    "minutes": None,
    "only": [],
    "out": None,
}
ARGUMENTS = ["--device=cpu", "--size=32", "--batch-size=4", "--steps=1", "--repeats=1"]


def measured(folder, **options):
    """The report of a tiny benchmark, and its rows by variant and name."""
    out = folder / "report" / "tiny.json"
    benchmark(TINY | {"out": out} | options, lambda line: None)
    report = json.loads(out.read_text())
    return report, {(row["variant"], row["row"]): row for row in report["rows"]}


@pytest.fixture(autouse=True, scope="module")
def quick_ceilings():
    with pytest.MonkeyPatch.context() as patch:
        quick = partial(measure_ceilings, repeats=1)
        patch.setattr(measure, "measure_ceilings", quick)
        yield


@pytest.fixture(scope="module")
def whole(quick_ceilings, tmp_path_factory):
    """A benchmark of every row, with bfloat16.

    To compile takes a minute; here the rows for it are measured eagerly.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "compiled", lambda network: network)
        patch.setattr(measure, "wants_bfloat16", lambda *_: True)
        return measured(tmp_path_factory.mktemp("whole"))


def test_every_variant_has_every_row_with_a_number_or_a_reason(whole):
    report, rows = whole
    assert list(rows) == [(subject, rung) for subject in SUBJECTS for rung in RUNGS]
    for row in rows.values():
        assert list(row) == list(empty_row("standard", "float32"))
        assert (row["note"] is None) == (row["images_per_second"] is not None)
        if row["note"] is None:
            assert row["slowest"] <= row["images_per_second"] <= row["fastest"]
            assert row["share_of_floor"] > 0
            assert row["bound_by"] in ("FLOP", "memory")
            assert row["first_step_seconds"] > 0
            plain = rows[row["variant"], "reference"]["images_per_second"]
            ratio = row["images_per_second"] / plain
            assert row["ratio_to_reference"] == pytest.approx(ratio)
    for lever in ("bfloat16", "compiled"):
        assert rows["dual_bn", "compile"][lever]
        assert not rows["dual_bn", "float32"][lever]
    assert [line["variant"] for line in report["summary"]] == list(SUBJECTS)
    best = report["summary"][2]["best_bfloat16"]
    assert best["images_per_second"] == max(
        row["images_per_second"]
        for row in rows.values()
        if row["variant"] == "dual_bn" and row["bfloat16"] and row["row"] != "with_data"
    )


def test_all_rows_of_a_variant_begin_with_the_same_loss(whole):
    _, rows = whole
    for variant in ("single_bn", "dual_bn"):
        losses = {rung: rows[variant, rung]["loss"] for rung in RUNGS}
        assert losses.pop("with_data") is None  # other images
        first = losses["reference"]
        assert losses == pytest.approx(dict.fromkeys(losses, first), rel=0.02)


def test_with_data_each_step_takes_other_images_and_augments_them(monkeypatch):
    seen = []

    def watched(images, config, generator):
        seen.append((images, config))
        return augment(images, config, generator)

    monkeypatch.setattr(data, "augment", watched)
    pixels, labels = torch.zeros(4, 1, 32, 32), torch.arange(8.0).view(4, 2)
    batches = augmented_batches(pixels, labels, PRESETS["paper"].augment)
    taken = list(islice(batches, 2 * BATCHES))
    assert {images.shape for images, _ in taken} == {pixels.shape}
    assert {known.shape for _, known in taken} == {labels.shape}
    assert {config for _, config in seen} == {PRESETS["paper"].augment}
    # Twice through all images; within an epoch none comes twice.
    for epoch in (seen[:BATCHES], seen[BATCHES:]):
        each = torch.cat([images for images, _ in epoch])
        assert len(each.unique(dim=0)) == BATCHES * len(pixels)


def test_of_saliency_only_what_makes_maps_is_measured(whole):
    _, rows = whole
    for subject in VARIANTS:
        assert rows[subject, "with_data"]["images_per_second"] > 0
    notes = {rung: rows["saliency", rung]["note"] for rung in RUNGS}
    assert notes == {
        "reference": None,
        "float32": None,
        "bfloat16": "maps are always computed in float32",
        "with_data": "nothing is augmented for a map",
        "compile": "maps are never compiled",
        "compiled_float32": "maps are never compiled",
    }


def test_the_report_begins_with_how_and_on_what_it_was_measured(tmp_path):
    report, _ = measured(tmp_path, only=["standard", "float32"])
    first = ["device", "versions", "threads", "load_before"]
    assert list(report)[:7] == [*first, "settings", "repeats", "date"]
    assert report["versions"]["torch"] == torch.__version__
    table = (tmp_path / "report" / "tiny.md").read_text().splitlines()
    assert table[0] == f"# {report['device']}"
    said = "\n".join(table[2:8])
    for word in ("torch", "Threads", "batch 4", "TF32", "2 steps per row", "Date"):
        assert word in said


def test_neither_file_names_a_path_or_a_host(tmp_path):
    measured(tmp_path, only=["standard", "float32"])
    for file in (tmp_path / "report").iterdir():
        text = file.read_text()
        assert str(tmp_path) not in text
        assert platform.node() not in text


def test_where_bfloat16_is_emulated_the_row_says_so_and_the_others_are_float32(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(measure, "wants_bfloat16", lambda *_: False)
    _, rows = measured(tmp_path, only=["dual_bn", "bfloat16", "with_data"])
    assert "does not multiply bfloat16" in rows["dual_bn", "bfloat16"]["note"]
    assert rows["dual_bn", "with_data"]["bfloat16"] is False
    assert rows["dual_bn", "with_data"]["images_per_second"] > 0


def test_a_row_that_exhausts_the_memory_says_so_and_the_next_is_measured(
    tmp_path, monkeypatch
):
    real = learner.Learner.step

    def exhausting(self, images, *arguments):
        # Two images are the step whose operations are counted.
        if self.objective.name == "single_bn" and len(images) > 2:
            raise torch.OutOfMemoryError
        return real(self, images, *arguments)

    monkeypatch.setattr(learner.Learner, "step", exhausting)
    _, rows = measured(tmp_path, only=["single_bn", "dual_bn", "float32"])
    assert rows["single_bn", "float32"]["note"] == "out of memory"
    assert rows["dual_bn", "float32"]["images_per_second"] > 0


def test_without_a_compiler_the_row_says_so_and_the_next_is_measured(tmp_path):
    out = tmp_path / "x.json"
    only = ["--only", "standard", "single_bn", "compiled_float32"]
    environment = os.environ | {
        "CXX": "no-such-compiler",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "mlcore.benchmark",
            *ARGUMENTS,
            f"--out={out}",
            *only,
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    rows = {
        (row["variant"], row["row"]): row for row in json.loads(out.read_text())["rows"]
    }
    for variant in ("standard", "single_bn"):
        note = rows[variant, "compiled_float32"]["note"]
        assert note == "cannot be compiled: no working C++ compiler"
        assert note in result.stdout


def test_rows_that_would_begin_too_late_are_left_out_in_words(tmp_path):
    _, rows = measured(
        tmp_path, minutes=1e-9, only=["standard", "float32", "reference"]
    )
    assert [row["note"] for row in rows.values()] == [
        "left out: the 1e-09 minutes were over"
    ] * 2


def test_an_interrupted_run_has_written_what_it_measured(tmp_path):
    def interrupt(line):
        raise KeyboardInterrupt

    out = tmp_path / "x.json"
    only = ["standard", "float32", "bfloat16"]
    with pytest.raises(KeyboardInterrupt):
        benchmark(TINY | {"out": out, "only": only}, interrupt)
    (row,) = json.loads(out.read_text())["rows"]
    assert row["row"] == "float32"
    assert "| float32 |" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network=vgg"], '--network knows no "vgg"; known: resnet50, '),
        (["--only", "fast"], '--only knows no "fast"; known: standard, '),
        (["--size=8"], "--size must be at least 32."),
        (["--batch-size=1"], "--batch-size must be at least 4."),
        (["--steps=0"], "--steps must be at least 1."),
        (["--repeats=0"], "--repeats must be at least 1."),
        (["--minutes=nan"], "--minutes must be positive."),
        (["--device=tpu"], 'Unknown device "tpu"; here: cpu'),
        (["--out=table.md"], '--out names a file that ends in ".json".'),
        (["--size=big"], "argument --size: invalid int value: 'big'"),
        (["--sise=64"], "unrecognized arguments: --sise=64"),
    ],
)
def test_a_bad_argument_gets_one_line_and_status_2(arguments, message, capsys):
    try:
        status = main(["--device=cpu", *arguments])
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_an_output_that_cannot_be_written_is_noticed_before_anything_is_measured(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(measure, "measure_ceilings", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        measured(tmp_path / "file", only=["standard", "float32"])


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_memory_of_a_cpu_is_the_growth_of_the_process(cpu):
    memory = PeakMemory(cpu)
    block = torch.ones(64 * 2**18)
    del block
    assert 60 <= memory.mib() <= 100
