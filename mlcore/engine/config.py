"""Training configuration: frozen dataclasses, presets by name, overrides, JSON.

A preset is one entry of `PRESETS`.
"""

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from mlcore.errors import UsageError

NetworkName = Literal["resnet50", "resnet18", "resnet10"]
Schedule = Literal["milestones", "onecycle"]
Precision = Literal["auto", "float32", "bfloat16"]
SaliencyTarget = Literal["loss", "positive_logits"]

Config = TypeVar("Config")


class EngineError(ValueError):
    """What a user asked of the engine cannot be done; the message is one line."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True)
class NetworkConfig:
    """The classifier. Momentum is PyTorch's: the weight of the newest batch."""

    name: NetworkName = "resnet50"
    batchnorm_momentum: float = 0.1
    dual_batchnorm_momentum: float = 0.1

    def __post_init__(self) -> None:
        for momentum in (self.batchnorm_momentum, self.dual_batchnorm_momentum):
            _require(
                0 < momentum <= 1, "network: a momentum lies above 0 and is at most 1."
            )


@dataclass(frozen=True)
class AttackConfig:
    """PGD in the L-infinity ball; eps and alpha in pixel units of [0, 1]."""

    eps: float = 0.005
    alpha: float = 0.0025
    steps: int = 10
    random_start: bool = False

    def __post_init__(self) -> None:
        _require(0 <= self.eps <= 1, "attack.eps lies between 0 and 1.")
        _require(self.alpha >= 0, "attack.alpha must not be negative.")
        _require(self.steps >= 0, "attack.steps must not be negative.")


@dataclass(frozen=True)
class NoiseConfig:
    """The control `noise`: SD of its Gaussian pixel noise, in units of [0, 1].

    The paper's are 0.01 and 0.1. Its authors' code also adds a mean of 0.5, which the
    text does not know; it is left out.
    """

    sigma: float = 0.01

    def __post_init__(self) -> None:
        _require(0 <= self.sigma <= 1, "noise.sigma lies between 0 and 1.")


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam. `milestones`: lr times 0.1 at each epoch listed; `onecycle`: lr at most."""

    lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    schedule: Schedule = "milestones"
    milestones: tuple[int, ...] = (100,)

    def __post_init__(self) -> None:
        _require(self.lr > 0, "optimiser.lr must be positive.")
        for beta in (self.beta1, self.beta2):
            _require(0 <= beta < 1, "optimiser: a beta is at least 0 and below 1.")
        _require(self.eps > 0, "optimiser.eps must be positive.")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to a training image; all at their neutral value change nothing.

    `flip` is a probability; `rotate` and `shear` are degrees to either side;
    `translate` and `pad` are shares of the image's side; brightness and contrast vary
    by a factor within 1 -+ the value.
    """

    flip: float = 0.0
    rotate: float = 0.0
    translate: float = 0.0
    scale_min: float = 1.0
    scale_max: float = 1.0
    shear: float = 0.0
    pad: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.flip <= 1, "augment.flip lies between 0 and 1.")
        _require(
            0 < self.scale_min <= self.scale_max,
            "augment.scale_min must be positive and not above augment.scale_max.",
        )
        _require(0 <= self.shear < 90, "augment.shear is at least 0 and below 90.")
        for name in ("rotate", "translate", "pad"):
            _require(getattr(self, name) >= 0, f"augment.{name} must not be negative.")
        for name in ("brightness", "contrast"):
            _require(
                0 <= getattr(self, name) <= 1, f"augment.{name} lies between 0 and 1."
            )


@dataclass(frozen=True)
class SaliencyConfig:
    """Whose gradient a map shows: the loss's, or the sum of the positive logits'."""

    target: SaliencyTarget = "loss"


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    `robust_dev_every`: after how many epochs the development loss is taken under
    attack as well (and after the last one); 0 for never. `patience`: training stops
    after that many epochs without a lower clean development loss; 0 for never.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    saliency: SaliencyConfig = field(default_factory=SaliencyConfig)
    batch_size: int = 64
    epochs: int = 300
    precision: Precision = "auto"
    robust_dev_every: int = 5
    patience: int = 0

    def __post_init__(self) -> None:
        _require(self.batch_size >= 4, "batch_size must be at least 4.")
        _require(self.epochs >= 1, "epochs must be at least 1.")
        _require(self.robust_dev_every >= 0, "robust_dev_every must not be negative.")
        _require(self.patience >= 0, "patience must not be negative.")


# The augmentation of the authors' code but for the flip; 24 pixels of 256.
_AUGMENT = AugmentConfig(
    rotate=25.0,
    translate=0.2,
    scale_min=0.8,
    scale_max=1.2,
    shear=10.0,
    pad=24 / 256,
    brightness=0.3,
    contrast=0.3,
)

PRESETS: Mapping[str, TrainConfig] = types.MappingProxyType(
    {
        # The paper's text, its gaps filled.
        "paper": TrainConfig(augment=_AUGMENT),
        # The authors' code where it differs from the text.
        "code": TrainConfig(
            network=NetworkConfig(dual_batchnorm_momentum=0.01),
            attack=AttackConfig(random_start=True),
            optimiser=OptimiserConfig(beta2=0.999, milestones=(100, 200)),
            augment=dataclasses.replace(_AUGMENT, flip=0.5),
            saliency=SaliencyConfig(target="positive_logits"),
        ),
        # Small enough for two CPU cores.
        "demo": TrainConfig(
            network=NetworkConfig(name="resnet10"),
            attack=AttackConfig(eps=0.03, alpha=0.015, steps=4),
            optimiser=OptimiserConfig(
                lr=0.001, beta2=0.999, schedule="onecycle", milestones=()
            ),
            epochs=12,
            robust_dev_every=4,
        ),
    }
)


def preset(name: str) -> TrainConfig:
    """The preset of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PRESETS:
        raise UsageError(f'Unknown preset "{name}"; known: {", ".join(PRESETS)}.')
    return PRESETS[name]


def with_overrides(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """`config` with values replaced, e.g. by `["attack.eps=0.01", "epochs=5"]`.

    Raises:
        UsageError: an assignment without "=", an unknown key (the nearest known one
            is named), or a value of the wrong type or range.
    """
    values = flat(config)
    kinds = _kinds(TrainConfig)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        _require(bool(equals), f'"{assignment}" is not of the form KEY=VALUE.')
        if key not in kinds:
            raise UsageError(_unknown_key(key, kinds))
        values[key] = _parsed(key, text.strip(), kinds[key])
    return from_dict(TrainConfig, _nested(values))


def flat(config: TrainConfig) -> dict[str, Any]:
    """Every value of `config` under its dotted key, as `--set` names it."""
    values: dict[str, Any] = {}
    for name, value in to_dict(config).items():
        if isinstance(value, dict):
            values |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            values[name] = value
    return values


def differences(base: TrainConfig, config: TrainConfig) -> dict[str, Any]:
    """The values of `config` that are not those of `base`, under their dotted keys."""
    before = flat(base)
    return {key: value for key, value in flat(config).items() if value != before[key]}


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values (tuples become lists)."""
    return cast(dict[str, Any], _plain(dataclasses.asdict(config)))


def from_dict(cls: type[Config], content: Mapping[str, Any]) -> Config:
    """The inverse of `to_dict`.

    Raises:
        UsageError: a key is missing or unknown, or a value has the wrong type.
    """
    kinds = _field_types(cls)
    for key in content:
        if key not in kinds:
            raise UsageError(_unknown_key(key, kinds))
    for key in kinds:
        _require(key in content, f'The configuration lacks "{key}".')
    return cls(**{key: _checked(key, content[key], kinds[key]) for key in kinds})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _field_types(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _kinds(cls: type, prefix: str = "") -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for name, kind in _field_types(cls).items():
        if dataclasses.is_dataclass(kind):
            kinds |= _kinds(cast(type, kind), f"{prefix}{name}.")
        else:
            kinds[prefix + name] = kind
    return kinds


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in values.items():
        *outer, name = key.split(".")
        target = content
        for part in outer:
            target = target.setdefault(part, {})
        target[name] = value
    return content


def _unknown_key(key: str, known: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f'Unknown setting "{key}"; the nearest known one is "{nearest[0]}".'


def _parsed(key: str, text: str, kind: Any) -> Any:
    """The value that a command line's `text` stands for."""
    if get_origin(kind) is tuple:
        parts = [part for part in text.split(",") if part.strip()]
        return [_parsed(key, part.strip(), get_args(kind)[0]) for part in parts]
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    value: Any = text
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise UsageError(_wrong_value(key, text, kind)) from None
    return _checked(key, value, kind)


def _checked(key: str, value: Any, kind: Any) -> Any:
    """`value` if it is of that kind (an integer passes for a float)."""
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return from_dict(cast(type, kind), value)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_checked(key, each, get_args(kind)[0]) for each in value)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind in (bool, int, str) and type(value) is kind:
        return value
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return dict(value)
    raise UsageError(_wrong_value(key, value, kind))


def _wrong_value(key: str, value: Any, kind: Any) -> str:
    names = {float: "a finite number", int: "a whole number", bool: "true or false"}
    if get_origin(kind) is Literal:
        wanted = "one of " + ", ".join(get_args(kind))
    else:
        wanted = names.get(kind, getattr(kind, "__name__", str(kind)))
    return f'{key} must be {wanted}, not "{value}".'
