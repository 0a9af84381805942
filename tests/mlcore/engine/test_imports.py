"""The engine runs on a bare GPU machine, where our own packages' needs are not met."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlcore
from tests.conftest import ROOT
from tests.mlcore.toy import QUICK

ALLOWED = {"torch", "torchvision", "numpy", "safetensors"}
OURS = {
    "mlcore.benchmark",
    "mlcore.datasets.table",
    "mlcore.engine",
    "mlcore.errors",
    "mlcore.files",
}
FOLDER = Path(mlcore.__file__).parent
MODULES = [
    path for room in ("engine", "benchmark") for path in (FOLDER / room).rglob("*.py")
]
BLOCKED = [
    "django",
    "pydicom",
    "pandas",
    "scipy",
    "rich",
    "matplotlib",
    "sklearn",
]

# For the import system a module that is None is one that is not installed. (Pillow is
# not among them: torchvision does not load without it.)
SCRIPT = """
import runpy, sys
sys.modules.update(dict.fromkeys({blocked!r}))
runpy.run_module("mlcore.engine", run_name="__main__", alter_sys=True)
"""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize(
    "path", sorted(MODULES), ids=lambda path: path.relative_to(FOLDER).as_posix()
)
def test_a_module_imports_only_what_the_engine_may(path):
    for name in imported(path):
        root = name.split(".")[0]
        if root == "mlcore":
            assert name in OURS or ".".join(name.split(".")[:2]) in OURS
        else:
            assert root in ALLOWED | sys.stdlib_module_names


def train_without(blocked, table, out):
    words = ["train", f"--table={table.folder}", f"--out={out}", "--preset=demo"]
    more = ["--device=cpu", "--variants=standard", "--set", *QUICK, "epochs=1"]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(blocked=blocked), *words, *more],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_it_trains_where_nothing_else_is_installed(table, tmp_path):
    done = train_without(BLOCKED, table, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (result,) = tmp_path.glob("*/result.json")
    assert json.loads(result.read_text())["epochs"] == 1


@pytest.mark.slow
def test_the_blocking_would_be_noticed(table, tmp_path):
    done = train_without(["safetensors"], table, tmp_path)
    assert "import of safetensors halted" in done.stderr
