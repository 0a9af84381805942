import pytest

from tests.browser import install


@pytest.fixture
def machine(monkeypatch):
    """A machine without a browser, and what was tried on it."""
    tried = []

    def fails(name):
        return lambda: bool(tried.append(name))

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(install, "chromium_path", lambda: None)
    monkeypatch.setattr(install, "_download", fails("download"))
    monkeypatch.setattr(install, "_install_package", fails("package"))
    return tried


def test_a_browser_that_is_there_is_used_and_nothing_installed(
    machine, monkeypatch, capsys
):
    monkeypatch.setattr(install, "chromium_path", lambda: "/usr/bin/some-chromium")

    assert install.main() == 0
    assert machine == []
    assert "/usr/bin/some-chromium" in capsys.readouterr().out


def test_without_any_it_says_so_and_fails_in_ci_only(machine, monkeypatch, capsys):
    assert install.main() == 0
    assert machine == ["download", "package"]
    assert "browser tests are skipped" in capsys.readouterr().err

    monkeypatch.setenv("CI", "true")
    assert install.main() == 1


def test_it_stops_at_the_first_way_that_works(machine, monkeypatch):
    found = iter([None, "/downloaded/chrome"])
    monkeypatch.setattr(install, "chromium_path", lambda: next(found))
    monkeypatch.setattr(install, "_download", lambda: not machine.append("download"))

    assert install.main() == 0
    assert machine == ["download"]


def test_a_program_that_is_missing_or_fails_does_not_run(tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)

    assert not install._runs([str(broken), "--version"])
    assert not install._runs(["no-such-program-anywhere"])
    assert install._runs(["true"])
