"""Python in a process of its own."""

import os
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT


def python(
    *words: Any, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run to the end in the repository's root, as on one core.

    Args:
        words: after the interpreter's name, such as `manage.py migrate`.
        env: added to this process's environment.
        options: of `subprocess.run`.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=environment | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
