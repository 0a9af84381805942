from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.files import atomic_folder
from readerstudy.management.lookup import find_study
from readerstudy.models import Study
from readerstudy.trial.archive.transfer import export_study
from readerstudy.trial.policies import Refusal
from readerstudy.trial.verification import BrokenLedger


class Command(BaseCommand):
    help = (
        "Write all of a locked or unblinded study into a folder for the vault, from "
        "which import_study makes it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")
        parser.add_argument("--out", required=True, type=Path, metavar="DIR")

    def handle(self, **options: Any) -> str:
        study = find_study(options["name"])
        out: Path = options["out"]
        if out.exists() or out.is_symlink():
            raise CommandError(f"{out} exists; an archive needs a folder of its own.")
        try:
            with atomic_folder(out) as folder:
                folder.chmod(0o700)
                exported = export_study(study, folder)
        except (Refusal, BrokenLedger) as error:
            raise CommandError(str(error)) from error
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or out})"
            raise CommandError(f"The study was not exported: {reason}.") from error
        lines = [
            f"Study '{study}' is in {out}: {exported.files} files.",
            f"SHA-256 of its manifest: {exported.manifest_sha256}",
            *map(str, exported.chains),
        ]
        if study.state == Study.State.LOCKED:
            lines.append(
                "It holds the allocation, which nobody who analyses the study may see "
                "before it is unblinded. Lock it away."
            )
        return "\n".join(lines)
