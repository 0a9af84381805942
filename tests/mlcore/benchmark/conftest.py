"""The engine's fixtures: the benchmark measures what the engine does."""

from tests.mlcore.engine.conftest import cpu, generator, table, trained_like

__all__ = ["cpu", "generator", "table", "trained_like"]
