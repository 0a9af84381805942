"""That the suite draws the same examples wherever and after whatever it runs."""

import importlib.util
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=50)


def drawn() -> list[int]:
    """What a property test draws now."""
    seen = []

    @FEW
    @given(st.integers(0, 2**40))
    def see(number):
        seen.append(number)

    see()
    return seen


@pytest.fixture
def another_module(tmp_path, monkeypatch):
    """Loads a module with numbers in it, as a command does that runs before."""

    def load():
        path = tmp_path / "of_numbers.py"
        path.write_text("".join(f"A{n} = {10**9 + n}\n" for n in range(100)))
        spec = importlib.util.spec_from_file_location("of_numbers", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "of_numbers", module)
        spec.loader.exec_module(module)

    return load


def test_examples_are_the_same_whatever_code_is_loaded(another_module):
    before = drawn()
    another_module()
    assert drawn() == before
    assert len(set(before)) > 20


def test_no_example_fails_for_being_slow():
    assert settings.default.derandomize
    assert settings.default.deadline is None
