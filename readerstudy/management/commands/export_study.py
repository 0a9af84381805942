from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from mlcore.files import atomic_folder
from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import find_study
from readerstudy.models import Study
from readerstudy.trial.archive.transfer import export_study


class Command(OneLineCommand):
    failed = "The study was not exported"
    help = (
        "Write all of a locked or unblinded study into a folder for the vault, from "
        "which import_study makes it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")
        parser.add_argument("--out", required=True, type=Path, metavar="DIR")

    def work(self, options: dict[str, Any]) -> str:
        study = find_study(options["name"])
        out: Path = options["out"]
        if out.exists() or out.is_symlink():
            raise CommandError(f"{out} exists; an archive needs a folder of its own.")
        with atomic_folder(out) as folder:
            folder.chmod(0o700)
            exported = export_study(study, folder)
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
