"""An image table in, a trained network per variant out."""

from typing import Any

import torch
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.datasets.table import ImageTable, TableError, open_table
from mlcore.engine.config import PRESETS, EngineError, RunConfig, to_dict
from mlcore.engine.networks import find_device
from mlcore.engine.objectives import VARIANTS
from mlcore.engine.runs import check_startable, configure, open_run
from mlcore.engine.train import Execution, train
from mlcore.management.database import require_table
from mlcore.management.locate import runs_root, table_folder
from mlcore.management.progress import shown
from mlcore.models import TrainingRun
from mlcore.recorder import recorded


class Command(BaseCommand):
    help = "Train the variants of the classifier on a data set."

    def add_arguments(self, parser: CommandParser) -> None:
        variants, presets = ", ".join(VARIANTS), ", ".join(PRESETS)
        some: dict[str, Any] = {"nargs": "+", "action": "extend"}
        add = parser.add_argument
        add("dataset", help="name of a data set, or its folder")
        add("--variants", **some, metavar="VARIANT", help=f"default: {variants}")
        add("--preset", default="paper", help=f"{presets} (paper)")
        add("--set", **some, metavar="KEY=VALUE", help="such as attack.eps=0.01")
        add("--fraction", type=float, default=1.0, help="of the patients' images (1)")
        add("--seed", type=int, default=1, help="of everything random (1)")
        add("--resume", action="store_true", help="go on with unfinished trainings")
        add("--device", help="cpu, cuda or cuda:N; default a GPU if there is one")

    def handle(self, **options: Any) -> None:
        try:
            self._train_all(options)
        except (EngineError, TableError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or 'a run folder'})"
            raise CommandError(f"The training failed: {reason}.") from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; --resume goes on from there.") from None

    def _train_all(self, options: dict[str, Any]) -> None:
        table = open_table(table_folder(options["dataset"]))
        configs = [
            configure(
                table,
                variant,
                options["preset"],
                options["set"] or (),
                fraction=options["fraction"],
                seed=options["seed"],
            )
            for variant in dict.fromkeys(options["variants"] or VARIANTS)
        ]
        device = find_device(options["device"])
        require_table(TrainingRun)
        # All of them first: the third must not fail after the first two took a day.
        for config in configs:
            folder = runs_root(table.name) / config.name
            check_startable(folder, config, resume=options["resume"])
        for config in configs:
            self._train(table, config, options["resume"], device)

    def _train(
        self, table: ImageTable, config: RunConfig, resume: bool, device: torch.device
    ) -> None:
        folder = runs_root(table.name) / config.name
        if (folder / "result.json").exists():
            result = open_run(folder).result
            self.stdout.write(f"{config.name} was finished before: {_summary(result)}.")
            return
        with (
            recorded(folder, name=config.name, config=to_dict(config)) as record,
            shown(self.stdout, config.name) as show,
        ):

            def on_event(event: dict[str, Any]) -> None:
                record(event)
                show(event)

            result = train(
                table,
                folder,
                config,
                Execution(device),
                on_event=on_event,
                resume=resume,
            )
        self.stdout.write(f"{config.name} is finished: {_summary(result)}.")


def _summary(result: dict[str, Any]) -> str:
    areas = [
        f"{finding} {'undefined' if area is None else format(area, '.3f')}"
        for finding, area in result["dev"]["auc"].items()
    ]
    return f"dev loss {result['dev']['loss']:.3f}, AUC {', '.join(areas)}"
