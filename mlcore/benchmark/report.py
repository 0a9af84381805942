"""Benchmark report: its header, its summary, and its tables."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torchvision

from mlcore.benchmark.measure import SUBJECTS, Row, Settings
from mlcore.benchmark.roofline import Ceilings, Work

MEMORY = {
    "cuda": "the most that PyTorch held on the GPU",
    "cpu": "growth of the process within a step, without weights and optimiser state",
}
COLUMNS = (
    *("row", "images/s", "slowest-fastest", "x reference", "share of floor", "binds"),
    *("memory MiB", "first step s", "loss", "remark"),
)


def header(settings: Settings) -> dict[str, Any]:
    """The report before anything is measured: how and on what it will be."""
    device = settings.device
    return {
        "device": device_name(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "cuda": torch.version.cuda if device.type == "cuda" else None,
            "cudnn": _cudnn() if device.type == "cuda" else None,
        },
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg()[0] if device.type == "cpu" else None,
        "settings": {
            "network": settings.network,
            "size": settings.size,
            "batch_size": settings.batch_size,
            "attack_steps": settings.steps,
            "minutes": settings.minutes,
            "only": list(settings.only),
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
            "memory": MEMORY[device.type],
        },
        "repeats": settings.repeats,
        "date": datetime.now(UTC).date().isoformat(),
        "schema_version": 2,
        "ceilings": None,
        "work_per_image": None,
        "summary": [],
        "rows": [],
    }


def _cudnn() -> int | None:
    return torch.backends.cudnn.version()  # type: ignore[no-any-return,no-untyped-call]


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0].strip()


def limits(ceilings: Ceilings, work: Mapping[str, Work]) -> dict[str, Any]:
    """What the device reaches and what a step must do, as the report holds it."""
    return {
        "ceilings": {
            "teraflops": {
                kind: rate / 1e12 for kind, rate in ceilings.flops_per_second.items()
            },
            "gigabytes_per_second": ceilings.bytes_per_second / 1e9,
        },
        "work_per_image": {
            subject: {
                "gigaflop": each.flops / 1e9,
                "megabytes_bfloat16": 2 * each.elements / 1e6,
                "megabytes_float32": 4 * each.elements / 1e6,
            }
            for subject, each in work.items()
        },
    }


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Per variant the plain loop and our fastest steps, without and with bfloat16."""
    lines = []
    for subject in SUBJECTS:
        own = {
            row["row"]: row
            for row in rows
            if row["variant"] == subject and row["images_per_second"]
        }
        plain = own.pop("reference", None)
        own.pop("with_data", None)  # more than a step
        line = {
            "variant": subject,
            "reference": plain and plain["images_per_second"],
            "best_float32": _fastest([r for r in own.values() if not r["bfloat16"]]),
            "best_bfloat16": _fastest([r for r in own.values() if r["bfloat16"]]),
        }
        if plain or own:
            lines.append(line)
    return lines


def _fastest(rows: Sequence[Row]) -> dict[str, Any] | None:
    if not rows:
        return None
    best = max(rows, key=lambda row: row["images_per_second"])
    return {name: best[name] for name in ("row", *_KEPT)}


_KEPT = ("images_per_second", "ratio_to_reference")


def markdown(report: Mapping[str, Any]) -> str:
    """The report for people: a page with a table per variant."""
    settings = report["settings"]
    versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items() if v)
    tf32 = "TF32 where cuDNN takes it" if settings["tf32_convolutions"] else "no TF32"
    policy = settings["omp_wait_policy"]
    waiting = f" (OMP_WAIT_POLICY={policy})" if policy else ""
    load = report["load_before"]
    busy = "" if load is None else f"; load of the machine before: {load:.2f}"
    lines = [
        f"# {report['device']}",
        "",
        f"- Versions: {versions}",
        f"- Threads: {report['threads']}{waiting}{busy}",
        f"- Settings: {settings['network']}, {settings['size']} x {settings['size']}"
        f" pixels, batch {settings['batch_size']}, attack of"
        f" {settings['attack_steps']} steps; float32 is PyTorch's default ({tf32})",
        f"- Repeats: {report['repeats']} steps per row; the median, and the range",
        f"- Date: {report['date']}",
        f"- Memory: {settings['memory']}",
    ]
    if report["ceilings"]:
        lines += _limit_lines(report)
    lines += _summary_lines(report["summary"])
    for subject in SUBJECTS:
        rows = [row for row in report["rows"] if row["variant"] == subject]
        if rows:
            lines += ["", f"## {subject}", "", *_table(COLUMNS, map(_cells, rows))]
    return "\n".join(lines) + "\n"


def _limit_lines(report: Mapping[str, Any]) -> list[str]:
    ceilings = report["ceilings"]
    rates = ", ".join(
        f"{kind} {rate:,.3g} TFLOP/s" for kind, rate in ceilings["teraflops"].items()
    )
    work = [
        [
            subject,
            *(f"{each[name]:,.4g}" for name in ("gigaflop", "megabytes_bfloat16")),
            f"{each['megabytes_float32']:,.4g}",
        ]
        for subject, each in report["work_per_image"].items()
    ]
    heads = ("per image", "GFLOP", "MB in bfloat16", "MB in float32")
    return [
        f"- Ceilings, measured: matrix product {rates};"
        f" copy {ceilings['gigabytes_per_second']:,.4g} GB/s",
        "",
        *_table(heads, work),
    ]


def _summary_lines(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    def best(found: Mapping[str, Any] | None) -> list[str]:
        if found is None:
            return ["", ""]
        speed = f"{found['images_per_second']:,.1f} ({found['row']})"
        return [speed, _number(found["ratio_to_reference"], ".2f")]

    heads = (
        *("images/s", "reference", "best without bfloat16", "x reference"),
        *("best with bfloat16", "x reference"),
    )
    rows = [
        [
            line["variant"],
            _number(line["reference"], ",.1f"),
            *best(line["best_float32"]),
            *best(line["best_bfloat16"]),
        ]
        for line in summary
    ]
    return ["", *_table(heads, rows)] if rows else []


def _cells(row: Row) -> list[str]:
    spread = ""
    if row["slowest"] is not None:
        spread = f"{row['slowest']:,.1f}-{row['fastest']:,.1f}"
    return [
        row["label"],
        _number(row["images_per_second"], ",.1f"),
        spread,
        _number(row["ratio_to_reference"], ".2f"),
        _number(row["share_of_floor"], ".0%"),
        row["bound_by"] or "",
        _number(row["memory_mib"], ",.0f"),
        _number(row["first_step_seconds"], ".1f"),
        _number(row["loss"], ".4f"),
        row["note"] or "",
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _table(heads: Sequence[str], rows: Any) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
