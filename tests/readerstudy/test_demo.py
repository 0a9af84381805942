import io
import os
import socket
from dataclasses import replace

import pytest
import torch
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from mlcore.datasets.table import open_table
from mlcore.engine import config
from mlcore.engine.checkpoint import save_weights
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import VARIANTS, find_objective
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import configure
from mlcore.files import write_json
from mlcore.models import TrainingRun
from readerstudy.management.commands import demo
from readerstudy.management.commands.demo import Claim, claims, robustness_claims
from readerstudy.models import Study
from readerstudy.trial.study import create_study
from tests.readerstudy.factories import make_bundle


def evaluation(ratios=(1.0, 4.0, 5.0), areas=(0.95, 0.95, 0.95, 0.95)):
    """An `evaluation.json` with what the claims read, and what they must not read."""
    asked = (("standard", "std"), ("single_bn", "std"), ("dual_bn", "adv"))
    rows = [
        ("Nodule", "all findings", variant, branch, "energy_inside", ratio)
        for (variant, branch), ratio in zip(asked, ratios, strict=True)
    ]
    others = [
        ("Nodule", "all findings", "dual_bn", "std", "energy_inside"),
        *(("Nodule", "own finding", *each, "energy_inside") for each in asked),
        *(("Cardiomegaly", "all findings", *each, "energy_inside") for each in asked),
        *(("Nodule", "all findings", *each, "pointing_exact") for each in asked),
    ]
    rows += [(*row, -99.0) for row in others]
    keys = ("finding", "map", "variant", "branch", "measure", "ratio")
    scored = [
        (variant, finding)
        for variant in ("standard", "dual_bn")
        for finding in ("Cardiomegaly", "Nodule")
    ]
    return {
        "localization": [dict(zip(keys, row, strict=True)) for row in rows],
        "classifier_metrics": [
            {"variant": variant, "finding": finding, "auc": area}
            for (variant, finding), area in zip(scored, areas, strict=True)
        ],
    }


def broken(found):
    return [claim.text for claim in found if not claim.holds]


def test_the_effect_is_seven_claims():
    found = claims(evaluation())
    assert len(found) == 7
    assert broken(found) == []
    assert [claim.value for claim in found] == [1.0, 4.0, 5.0, *[0.95] * 4]


@pytest.mark.parametrize(
    ("ratios", "failing"),
    [
        ((1.99, 3.0, 3.0), []),
        ((2.0, 4.0, 5.0), ["standard"]),
        ((1.0, 2.99, 5.0), ["single_bn"]),
        ((1.0, 4.0, 2.99), ["dual_bn"]),
        ((2.5, 1.0, 1.0), ["standard", "single_bn", "dual_bn"]),
    ],
)
def test_a_standard_map_stays_under_2_and_a_robust_one_reaches_3(ratios, failing):
    expected = [f"{variant}, nodule energy over chance" for variant in failing]
    assert broken(claims(evaluation(ratios=ratios))) == expected


def test_an_area_reaches_nine_tenths():
    areas = (0.9, 0.899, 0.95, 0.5)
    assert broken(claims(evaluation(areas=areas))) == [
        "standard, AUC of Nodule",
        "dual_bn, AUC of Nodule",
    ]


def test_what_is_undefined_is_not_reproduced():
    undefined = evaluation(ratios=(None,) * 3, areas=(None,) * 4)
    assert len(broken(claims(undefined))) == 7
    assert "undefined" in str(claims(undefined)[0])


def test_without_a_nodule_to_point_to_the_maps_are_undefined():
    found = claims(evaluation() | {"localization": []})
    assert [claim.value for claim in found[:3]] == [None] * 3
    assert len(broken(found)) == 3


def results(standard=0.1, single=0.31, dual=0.5):
    """`result.json` of each variant, as far as the claims and the summary read it."""

    def rows(*areas):
        return [
            {
                "attacked": attacked,
                "scored": scored,
                "loss": 0.5,
                "auc": {"Cardiomegaly": area, "Nodule": area},
                "zero_gradients": 0,
            }
            for attacked, scored, area in areas
        ]

    areas = {
        "standard": [("std", "std", standard)],
        "single_bn": [("std", "std", single)],
        "dual_bn": [
            ("adv", "adv", dual),
            ("adv", "std", 0.0),
            ("std", "adv", 1.0),
            ("std", "std", 0.0),
        ],
    }
    return {
        name: {
            "finished_at": "2026-01-01",
            "images": {"train": 14, "dev": 2},
            "dev": {
                "loss": 0.5,
                "auc": {"Cardiomegaly": 1.0, "Nodule": 1.0},
                "robust": rows(*each),
            },
        }
        for name, each in areas.items()
    }


def test_adversarial_training_must_bring_robustness():
    found = robustness_claims(results())
    assert broken(found) == []
    assert [claim.value for claim in found] == pytest.approx([0.21, 0.4])
    assert broken(robustness_claims(results(single=0.29, dual=0.31))) == [
        "single_bn, AUC under attack above that of standard"
    ]
    assert broken(robustness_claims(results(dual=0.29))) == [
        "dual_bn, AUC under attack above that of standard"
    ]
    assert len(broken(robustness_claims(results(standard=None)))) == 2


def test_a_claim_says_what_was_found_and_wanted():
    told = Claim("standard, share", 2.345, 2, above=False)
    assert str(told) == "  NO  standard, share: 2.35, under 2 wanted"
    told = Claim("dual_bn, AUC", 0.95, 0.9, above=True)
    assert str(told) == " yes  dual_bn, AUC: 0.95, at least 0.9 wanted"


@pytest.fixture
def no_work(monkeypatch):
    """Nothing is imported, trained or judged; whatever was found is taken."""
    done = []
    for name in ("_train", "_judge"):
        monkeypatch.setattr(demo.Command, name, lambda self, *_: done.append(1))
    return done


def run(*arguments):
    """The demo's lines."""
    out = io.StringIO()
    call_command("demo", *arguments, stdout=out)
    return out.getvalue().splitlines()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_port_that_is_taken_is_told_before_any_work(
    monkeypatch, no_work, data_folder
):
    commands = []
    monkeypatch.setattr(demo, "call_command", lambda name, **_: commands.append(name))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(CommandError) as caught:
            run("--address", address)
    assert caught.value.returncode == 2
    assert str(caught.value) == (
        f"Cannot serve on {address}: Address already in use. Name another address, "
        "such as: make demo ADDRESS=127.0.0.1:8001"
    )
    assert commands == no_work == []
    assert not data_folder.exists()


@pytest.mark.parametrize("address", ["8000", ":8000", "here:", "here:0", "here:65536"])
def test_what_is_no_address_is_refused(no_work, address):
    with pytest.raises(CommandError, match="is not HOST:PORT, such as 127"):
        run("--address", address)
    assert no_work == []


def test_the_server_starts_where_it_was_asked_to(db, monkeypatch, no_work, tmp_path):
    started = []
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    monkeypatch.setattr(demo.Command, "_set_up", lambda self: None)
    address = f"127.0.0.1:{free_port()}"
    run("--address", address)
    ((_, arguments),) = started
    assert "gunicorn" in arguments
    assert "readerstudy.wsgi" in arguments
    assert f"--bind={address}" in arguments


@pytest.fixture
def tiny(monkeypatch, unrendered):
    """The demo on 20 small images, trained for one epoch, with two cases."""
    # Tiny tensors gain nothing from threads, and lose much on a busy machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    preset = replace(
        config.PRESETS["demo"],
        epochs=1,
        batch_size=8,
        robust_dev_every=1,
        precision="float32",
        attack=config.AttackConfig(eps=0.03, alpha=0.03, steps=1),
    )
    monkeypatch.setattr(config, "PRESETS", dict(config.PRESETS) | {"demo": preset})
    monkeypatch.setattr(demo, "IMAGE_SIZE", 32)
    monkeypatch.setattr(demo, "CASES", 2)
    yield ("--no-serve", "--images=20")
    torch.set_num_threads(threads)


@pytest.fixture
def trained(tiny, data_folder):
    """Runs with fresh weights where the demo looks for its own: nothing to train."""
    options = ["--image-size=32", "--images=20", f"--seed={demo.SEED}"]
    options += ["--classes", *demo.CLASSES]
    call_command("import_dataset", "phantom", f"--name={demo.DATASET}", *options)
    table = open_table(data_folder / "tables" / demo.DATASET)
    for variant in VARIANTS:
        objective = find_objective(variant)
        run = configure(table, variant, "demo", seed=demo.SEED)
        folder = data_folder / "runs" / demo.DATASET / run.name
        network = build_network(run.train.network, 2, dual=objective.dual, seed=1)
        write_json(folder / "config.json", to_json(run))
        save_weights(folder / "best.safetensors", network, {})
        write_json(folder / "result.json", results()[variant])
    return tiny


@pytest.mark.slow
def test_an_effect_that_is_not_reproduced_makes_no_study(db, tiny, data_folder):
    with pytest.raises(CommandError, match=r"^effect not reproduced") as caught:
        run(*tiny)
    assert caught.value.returncode == 1
    assert TrainingRun.objects.filter(status="finished").count() == 3
    assert (data_folder / "reports" / "evaluation-phantom-demo").is_dir()
    assert not (data_folder / "bundles").exists()
    assert not Study.objects.exists()
    assert not User.objects.exists()


def logins(lines):
    """Passwords by user name, from the lines that the demo ends with."""
    told = [line.split() for line in lines if " password " in line]
    return {words[1]: words[3] for words in told}


@pytest.mark.slow
def test_a_study_is_set_up_and_a_second_demo_uses_it(db, trained, monkeypatch, rhea):
    held = [Claim("the effect", 1.0, 0.5, above=True)]
    monkeypatch.setattr(demo, "claims", lambda _: held)
    before = User.objects.get(pk=rhea.pk).password

    lines = run(*trained)
    study = Study.objects.get()
    assert study.state == Study.State.OPEN
    assert study.cases.count() == 2
    readers = {each.reader.username for each in study.enrolments.all()}
    assert readers == set(demo.READERS)
    first = logins(lines)
    assert set(first) == {demo.ADMIN, *demo.READERS}
    for username, password in first.items():
        person = authenticate(username=username, password=password)
        assert person.is_superuser == person.is_staff == (username == demo.ADMIN)
    assert "The paper's effect is reproduced on the phantom." in lines
    made = list(study.enrolments.values_list("pk", flat=True))

    lines = run(*trained)
    assert sum("was finished before" in line for line in lines) == 3
    again = Study.objects.get()
    assert (again.pk, again.state) == (study.pk, Study.State.OPEN)
    assert list(again.enrolments.values_list("pk", flat=True)) == made
    second = logins(lines)
    assert set(second) == set(first)
    for username, password in second.items():
        assert authenticate(username=username, password=password)
        assert not authenticate(username=username, password=first[username])
    assert User.objects.count() == 4
    assert User.objects.get(pk=rhea.pk).password == before


def test_a_study_that_an_interruption_left_a_draft_is_opened(
    db, no_work, tmp_path, monkeypatch
):
    readers = [User.objects.create_user(name) for name in demo.READERS]
    bundle = make_bundle(tmp_path / "bundle", cases=2)
    create_study(name=demo.STUDY, bundles=[bundle], readers=readers, by=None)
    run("--no-serve")
    assert Study.objects.get().state == Study.State.OPEN


def test_a_study_that_was_locked_stays_so(db, no_work, tmp_path):
    readers = [User.objects.create_user(name) for name in demo.READERS]
    bundle = make_bundle(tmp_path / "bundle", cases=2)
    study = create_study(name=demo.STUDY, bundles=[bundle], readers=readers, by=None)
    Study.objects.filter(pk=study.pk).update(state=Study.State.LOCKED)
    run("--no-serve")
    assert Study.objects.get().state == Study.State.LOCKED
