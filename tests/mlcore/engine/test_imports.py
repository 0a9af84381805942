"""The engine runs on a bare GPU machine, where our own packages' needs are not met."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mlcore.engine

ALLOWED = {"torch", "torchvision", "numpy", "safetensors"}
OURS = {"mlcore.engine", "mlcore.files", "mlcore.datasets.table"}
FOLDER = Path(mlcore.engine.__file__).parent
BLOCKED = [
    "django",
    "pydicom",
    "pandas",
    "scipy",
    "rich",
    "matplotlib",
    "sklearn",
]

# For the import system a module that is None is one that is not installed.
SCRIPT = "import sys; sys.modules.update(dict.fromkeys({blocked!r})); import {module}"


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem
)
def test_a_module_imports_only_what_the_engine_may(path):
    for name in imported(path):
        root = name.split(".")[0]
        if root == "mlcore":
            assert ".".join(name.split(".")[:2]) == "mlcore.engine" or name in OURS
        else:
            assert root in ALLOWED | sys.stdlib_module_names


def test_it_trains_where_nothing_else_is_installed():
    script = SCRIPT.format(blocked=BLOCKED, module="mlcore.engine.train")
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_the_blocking_would_be_noticed():
    script = SCRIPT.format(blocked=["safetensors"], module="mlcore.engine.train")
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert "import of safetensors halted" in result.stderr
