"""The configuration of a run: its identity, and its JSON through the versions.

A setting that a later version brings gets an entry in `ADDED`. A run of an earlier
version is then read with the value by which that version behaved, and has the id that
it always had.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mlcore.engine.config import EngineError, TrainConfig, from_dict, to_dict
from mlcore.errors import UsageError
from mlcore.files import canonical_json, sha256_bytes

# Of `config.json`. A file that does not name its version is of the first.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Added:
    """A key that is not in the first version.

    Attributes:
        version: the first that has it.
        value: by which the versions before behaved, as JSON holds it. While a run has
            it, the key is no part of the run's id.
    """

    version: int
    value: Any


# By dotted name, such as "train.attack.channels".
ADDED: Mapping[str, Added] = {}


@dataclass(frozen=True)
class RunConfig:
    """One training, whole: what is trained, on what, and how.

    `overrides` are the values in which `train` departs from the preset; `fraction` is
    the share of the training images used; `initial_weights` the SHA-256 of the file
    that the network starts from, or "" for a fresh one.
    """

    objective: str
    dataset: str
    dataset_sha256: str
    classes: tuple[str, ...]
    preset: str
    overrides: Mapping[str, Any]
    fraction: float
    seed: int
    initial_weights: str
    train: TrainConfig

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UsageError("The fraction lies above 0 and is at most 1.")
        if not 0 <= self.seed < 2**63:
            raise UsageError("The seed is a whole number from 0 to 2^63 - 1.")

    @property
    def run_id(self) -> str:
        """First 8 hex digits of the SHA-256 of the canonical configuration.

        The values behind the preset's name are part of it, so a preset that a later
        version changes never passes old weights off as its own. The data set's name is
        not: its hash says what it is.
        """
        content = to_dict(self)
        del content["dataset"]
        for key, added in ADDED.items():
            parent, name = _place(content, key)
            if parent[name] == added.value:
                del parent[name]
        return sha256_bytes(canonical_json(content))[:8]

    @property
    def name(self) -> str:
        """The run folder's name, `<variant>-<id>`."""
        return f"{self.objective}-{self.run_id}"


def to_json(config: RunConfig) -> dict[str, Any]:
    """The content of `config.json`."""
    return {"schema_version": SCHEMA_VERSION, **to_dict(config)}


def from_json(content: Mapping[str, Any]) -> RunConfig:
    """The configuration that a `config.json` of this or an earlier version holds.

    Raises:
        EngineError: a later version, a key that is missing or unknown, or a value of
            the wrong type.
    """
    values = deepcopy(dict(content))
    version = values.pop("schema_version", 1)
    if version not in range(1, SCHEMA_VERSION + 1):
        raise EngineError(
            f"It is of schema_version {version}; 1 to {SCHEMA_VERSION} can be read."
        )
    for key, added in ADDED.items():
        if version < added.version:
            parent, name = _place(values, key)
            parent[name] = added.value
    try:
        return from_dict(RunConfig, values)
    except UsageError as error:  # nobody asked for it: it stands in a file
        raise EngineError(str(error)) from error


def is_of(content: object, config: RunConfig) -> bool:
    """Whether the JSON that a file holds, of whichever version, is that of `config`."""
    if not isinstance(content, Mapping):
        return False
    try:
        return from_json(content) == config
    except EngineError:
        return False


def _place(content: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The object that a dotted key lies in, and its name there."""
    *outer, name = key.split(".")
    for part in outer:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise EngineError(f'"{part}" must be an object, not "{content}".')
    return content, name
