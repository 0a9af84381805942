"""What an unfinished run's folder says of how far the training has come."""

from pathlib import Path
from typing import Any

from mlcore.engine.checkpoint import BEST, BEST_ROBUST, load_state, read_about
from mlcore.engine.config import RunConfig, to_dict
from mlcore.engine.progress import Progress
from mlcore.files import remove_unfinished_files, write_json


def state_on_disk(
    folder: Path, config: RunConfig
) -> tuple[dict[str, Any] | None, list[str]]:
    """The state to go on from, its progress up to date with the best weights.

    A folder without a run is set up for one.

    Returns:
        None without a checkpoint; and what had to be passed over, in words.

    Raises:
        EngineError: there are checkpoints, but none can be used.
    """
    remove_unfinished_files(folder)
    if not (folder / "config.json").exists():
        write_json(folder / "config.json", to_dict(config))
        return None, []
    state, problems = load_state(folder, to_dict(config))
    if state is not None:
        progress = Progress(**state["progress"])
        progress.adopt(
            _about(folder / BEST, config), _about(folder / BEST_ROBUST, config)
        )
        state["progress"] = vars(progress)
    return state, problems


def _about(path: Path, config: RunConfig) -> dict[str, Any]:
    about = read_about(path)
    return about if about.get("config") == to_dict(config) else {}
