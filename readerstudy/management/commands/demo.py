"""Demonstration on synthetic radiographs: three trainings, maps, a study to rate.

The trainings are real, and the demo says so only if they show the paper's effect: the
maps of the standard network lie on the planted nodule hardly more than chance would
have it, those of the adversarially trained networks well above.
"""

import json
import os
import secrets
import socket
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from readerstudy.management.base import OneLineCommand
from readerstudy.models import Study

DATASET = "phantom-demo"
STUDY = "Saliency maps, phantom chest X-ray"
ADMIN = "demo-admin"
READERS = ("demo-reader1", "demo-reader2")
# Two findings, one large and one small, are learnt in minutes on a laptop.
CLASSES = ("Cardiomegaly", "Nodule")
IMAGE_SIZE = 64
IMAGES = 1500
CASES = 12
SEED = 7


@dataclass(frozen=True)
class Claim:
    """One thing that must hold for the effect to count as reproduced."""

    text: str
    value: float | None
    limit: float
    above: bool

    @property
    def holds(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.limit if self.above else self.value < self.limit

    def __str__(self) -> str:
        shown = "undefined" if self.value is None else f"{self.value:.2f}"
        wanted = "at least" if self.above else "under"
        mark = "yes" if self.holds else "NO"
        return f"{mark:>4}  {self.text}: {shown}, {wanted} {self.limit:g} wanted"


def claims(evaluation: Mapping[str, Any]) -> list[Claim]:
    """What the paper's effect asks of the phantom's `evaluation.json`.

    Ratios are the share of saliency energy inside the nodule over the nodule's share
    of the image, of the maps that readers see: 1 is chance.
    """
    ratio = {
        (row["variant"], row["branch"]): row["ratio"]
        for row in evaluation["localization"]
        if row["finding"] == "Nodule"
        and row["map"] == "all findings"
        and row["measure"] == "energy_inside"
    }
    area = {
        (row["variant"], row["finding"]): row["auc"]
        for row in evaluation["classifier_metrics"]
    }
    told = "nodule energy over chance"
    found = [
        # A few images may hold no nodule to point to: then there is no ratio.
        Claim(f"standard, {told}", ratio.get(("standard", "std")), 2, above=False),
        Claim(f"single_bn, {told}", ratio.get(("single_bn", "std")), 3, above=True),
        Claim(f"dual_bn, {told}", ratio.get(("dual_bn", "adv")), 3, above=True),
    ]
    for variant in ("standard", "dual_bn"):
        for finding in CLASSES:
            text = f"{variant}, AUC of {finding}"
            found.append(Claim(text, area[variant, finding], 0.9, above=True))
    return found


def robustness_claims(results: Mapping[str, Any]) -> list[Claim]:
    """What adversarial training must have brought on the development images.

    Args:
        results: `result.json` of each variant. Areas under attack are means over the
            findings, attacked and scored through the branch that gives the maps.
    """

    def area(variant: str, branch: str) -> float | None:
        (row,) = (
            row
            for row in results[variant]["dev"]["robust"]
            if row["attacked"] == row["scored"] == branch
        )
        areas = list(row["auc"].values())
        return None if None in areas else sum(areas) / len(areas)

    base = area("standard", "std")
    found = []
    for variant, branch in (("single_bn", "std"), ("dual_bn", "adv")):
        text = f"{variant}, AUC under attack above that of standard"
        own = area(variant, branch)
        gain = None if own is None or base is None else own - base
        found.append(Claim(text, gain, 0.2, above=True))
    return found


class Command(OneLineCommand):
    help = "Train on synthetic radiographs, set a study up and serve it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--address", type=_address, default="127.0.0.1:8000", metavar="HOST:PORT"
        )
        parser.add_argument(
            "--no-serve", action="store_true", help="stop before the server starts"
        )
        parser.add_argument(
            "--images",
            type=int,
            default=IMAGES,
            help=f"radiographs to make ({IMAGES}); fewer may not show the effect",
        )

    def work(self, options: dict[str, Any]) -> None:
        address = options["address"]
        if not options["no_serve"]:
            _check_free(address)
        self.started = time.monotonic()
        self._step("Preparing the database")
        call_command("migrate", verbosity=0)
        self._train(options["images"])
        self._judge()
        logins = _renew_logins()
        self._set_up()
        self._tell(address, logins)
        if not options["no_serve"]:
            _serve(address)

    def _train(self, images: int) -> None:
        self._step(f"Making {images} synthetic chest radiographs")
        self._call(
            "import_dataset",
            "phantom",
            f"--name={DATASET}",
            f"--image-size={IMAGE_SIZE}",
            f"--images={images}",
            f"--seed={SEED}",
            "--classes",
            *CLASSES,
        )
        self._step("Training standard, single_bn and dual_bn")
        self._call(
            "train_models", DATASET, "--preset=demo", f"--seed={SEED}", "--resume"
        )

    def _judge(self) -> None:
        self._step("Evaluating: do the maps point to the planted findings?")
        # The quick parts; the others take minutes, and `_tell` names the command.
        self._call(
            "evaluate_models", DATASET, "--only", "discrimination", "localization"
        )
        report = _data() / "reports" / f"evaluation-{DATASET}" / "evaluation.json"
        evaluation = _json(report)
        runs = _data() / "runs" / DATASET
        results = {
            variant: _json(runs / name / "result.json")
            for variant, name in evaluation["run"]["runs"].items()
        }
        found = [*claims(evaluation), *robustness_claims(results)]
        for claim in found:
            self.stdout.write(str(claim))
        if not all(claim.holds for claim in found):
            raise CommandError("effect not reproduced: see the lines marked NO above.")
        self.stdout.write("The paper's effect is reproduced on the phantom.")

    def _set_up(self) -> None:
        studies = Study.objects.filter(name=STUDY)
        if not studies.exists():
            self._create_study()
        if studies.filter(state=Study.State.DRAFT).exists():
            self._call("open_study", STUDY, f"--by={ADMIN}", "--reason=Demonstration")

    def _create_study(self) -> None:
        self._step(f"Drawing {CASES} cases and setting the study up")
        bundle = _data() / "bundles" / DATASET
        self._call(
            "generate_saliency",
            DATASET,
            f"--cases={CASES}",
            f"--seed={SEED}",
            f"--out={bundle}",
        )
        self._call(
            "create_study",
            STUDY,
            f"--bundle={bundle}",
            "--readers",
            *READERS,
        )

    def _step(self, text: str) -> None:
        elapsed = int(time.monotonic() - self.started)
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n[{elapsed:>4} s] {text}"))
        self.stdout.flush()

    def _call(self, name: str, *arguments: str) -> None:
        call_command(name, *arguments, stdout=self.stdout, stderr=self.stderr)

    def _tell(self, address: str, logins: Mapping[str, str]) -> None:
        self._step("Ready")
        report = _data() / "reports" / f"evaluation-{DATASET}" / "report.html"
        self.stdout.write(f"  Evaluation: {report}")
        self.stdout.write(
            f"  With robustness, loss surfaces and CKA (minutes on a CPU): manage.py "
            f"evaluate_models {DATASET} --eps-max 0.06 --attack-images 50"
        )
        for username, password in logins.items():
            page = "admin/" if username == ADMIN else ""
            self.stdout.write(
                f"  http://{address}/{page:<7} {username:<13} password {password}"
            )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ArgumentTypeError(f'"{text}" is not HOST:PORT, such as 127.0.0.1:8000')
    return text


def _check_free(address: str) -> None:
    """Fail before the trainings, not after them, if the server could not start."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise CommandError(
                f"Cannot serve on {address}: {error.strerror or error}. Name another "
                "address, such as: make demo ADDRESS=127.0.0.1:8001",
                returncode=2,
            ) from error


def _renew_logins() -> dict[str, str]:
    """Give the demo's own people new passwords: no fixed one may open an admin."""
    logins = {}
    for username in (ADMIN, *READERS):
        person, _ = User.objects.get_or_create(username=username)
        logins[username] = secrets.token_urlsafe(9)
        person.set_password(logins[username])
        person.is_staff = person.is_superuser = username == ADMIN
        person.save(update_fields=["password", "is_staff", "is_superuser"])
    return logins


def _data() -> Path:
    return Path(settings.READERSTUDY_DATA)


def _serve(address: str) -> None:
    """Become the server: torch and pandas, loaded by the trainings, go with us."""
    sys.stdout.flush()
    arguments = [
        "--config=python:readerstudy.gunicorn_config",
        f"--bind={address}",
        "readerstudy.wsgi",
    ]
    os.chdir(settings.BASE_DIR)
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])  # noqa: S606
