"""Rows and exhibits of an invented evaluation, in the form that the real parts give."""

import numpy as np

from mlcore.evaluation.discrimination.curves import OutcomeCurve
from mlcore.evaluation.localization.examples import SaliencyExample
from mlcore.evaluation.localization.targets import MAPS
from mlcore.evaluation.robustness.examples import AttackExample

VARIANTS = ("standard", "single_bn", "dual_bn")
ARMS = (*((variant, "std") for variant in VARIANTS), ("dual_bn", "adv"))
FINDINGS = ("Cardiomegaly", "Edema", "Pleural Effusion")
MEASURES = ("energy_inside", "pointing_exact", "pointing_near", "top_overlap")
SIZE = 64
# Whose maps point: of the area that a uniform map scores.
STRENGTH = {
    ("standard", "std"): 1.0,
    ("single_bn", "std"): 2.6,
    ("dual_bn", "std"): 1.2,
    ("dual_bn", "adv"): 3.4,
}
RUN = {
    "dataset": "invented",
    "dataset_sha256": "5" * 64,
    "external": "elsewhere",
    "runs": {variant: f"{variant}-1a2b3c4d" for variant in VARIANTS},
    "checkpoints": {variant: str(place) * 64 for place, variant in enumerate(VARIANTS)},
    "maps": dict.fromkeys(VARIANTS, "the gradient of the loss to the pixels"),
    "settings": {"robustness": {"steps": 10, "eps": [0.0, 0.005, 0.01]}},
    "versions": {"numpy": "2.1.0", "torch": "2.11.0"},
    "seed": 1,
    "redraws": 10000,
    "generated_at": "2026-11-22T18:00:00+00:00",
}


def metrics_rows(rng, findings=FINDINGS):
    rows = []
    for dataset, external in (("invented", False), ("elsewhere", True)):
        for place, finding in enumerate(findings):
            for arm, variant in enumerate(VARIANTS):
                auc = 0.88 - 0.05 * place - 0.02 * (arm == 1) - 0.06 * external
                auc += rng.uniform(-0.01, 0.01)
                rows.append(
                    {
                        "dataset": dataset,
                        "split": "test",
                        "external": external,
                        "finding": finding,
                        "variant": variant,
                        "branch": "std",
                        "n": 202,
                        "n_pos": 40 - 9 * place,
                        **_interval("auc", auc, 0.04),
                        **_interval("ap", auc - 0.3, 0.07),
                        "cutoff": 0.31,
                        **_interval("sensitivity", auc - 0.1, 0.08),
                        **_interval("specificity", auc - 0.05, 0.06),
                        "best_cutoff": 0.27,
                        **_interval("best_sensitivity", auc - 0.08, 0.08),
                        **_interval("best_specificity", auc - 0.04, 0.06),
                        "undefined_redraws": 0,
                    }
                )
    return rows


def _interval(name, value, half):
    return {name: value, f"{name}_lo": value - half, f"{name}_hi": value + half}


def undefined_metrics_row(finding="Hernia", variant="standard"):
    keys = metrics_rows(np.random.default_rng(0))[0]
    return dict.fromkeys(keys) | {
        "dataset": "invented",
        "split": "test",
        "external": False,
        "finding": finding,
        "variant": variant,
        "branch": "std",
        "n": 202,
        "n_pos": 0,
        "reason": "no positive case",
    }


def compare_rows(rng):
    return [
        {
            "dataset": "invented",
            "split": "test",
            "external": False,
            "finding": finding,
            "pair": pair,
            "measure": "auc",
            "diff": (diff := rng.uniform(-0.03, 0.03)),
            "lo": diff - 0.03,
            "hi": diff + 0.03,
            "p_delong": 0.2,
            "p_swap_paper": 0.11,
            "p_swap_rank": 1 / 10001,
            "significant_001": True,
        }
        for finding in FINDINGS
        for pair in ("standard-single_bn", "standard-dual_bn", "single_bn-dual_bn")
    ]


def localization_rows(findings=FINDINGS[::2]):
    rows = []
    for place, finding in enumerate(findings):
        uniform = 0.17 - 0.1 * place
        for kind in MAPS:
            for measure in MEASURES:
                for arm in ARMS:
                    value = min(0.97, uniform * STRENGTH[arm])
                    if measure.startswith("pointing"):
                        value = min(0.97, value * 1.6)
                    half = 0.03 if measure == "energy_inside" else 0.09
                    rows.append(
                        {
                            "finding": finding,
                            "map": kind,
                            "variant": arm[0],
                            "branch": arm[1],
                            "measure": measure,
                            "n": 46 - 20 * place,
                            "patients": 44 - 20 * place,
                            "undefined": 0,
                            "value": value,
                            "chance_uniform": uniform,
                            "chance_centre": uniform * 1.15,
                            "chance_untrained": uniform * 1.1,
                            "ratio": value / uniform,
                            "area_share": uniform,
                            "lo": max(0, value - half),
                            "hi": min(1, value + half),
                            "ratio_lo": 0.9,
                            "ratio_hi": 4.1,
                        }
                    )
    return rows


def randomization_rows():
    layers = ("none", "fc", "layer4", "layer3", "layer2", "layer1", "stem")
    return [
        {
            "variant": variant,
            "branch": branch,
            "stage": stage,
            "layers": name,
            "measure": measure,
            "n": 100,
            "patients": 90,
            "undefined": 0,
            "unchanged": 0,
            "value": (value := 0.95 ** (place + 1) * np.exp(-0.6 * stage)),
            "lo": value - 0.04,
            "hi": value + 0.04,
        }
        for place, (variant, branch) in enumerate(ARMS)
        for stage, name in enumerate(layers)
        for measure in ("spearman_absolute", "pearson_signed")
    ]


def robustness_rows():
    pairs = [("standard", "std", "std"), ("single_bn", "std", "std")]
    pairs += [
        ("dual_bn", attacked, scored)
        for attacked in ("std", "adv")
        for scored in ("std", "adv")
    ]
    slopes = {"standard": 220, "single_bn": 45}
    rows = []
    for attack, steps in (("pgd", range(21)), ("margin", (0, 10, 20))):
        for variant, attacked, scored in pairs:
            within = {("std", "std"): 260, ("adv", "adv"): 60, ("std", "adv"): 20}
            slope = slopes.get(variant, within.get((attacked, scored), 120))
            for step in steps:
                eps = step / 2000
                auc = 0.35 + 0.5 * float(np.exp(-slope * eps * 0.7))
                head = {
                    "variant": variant,
                    "attack": attack,
                    "attacked": attacked,
                    "eps": eps,
                    "alpha": eps / 2,
                    "steps": 10,
                    "zero_gradients": 0,
                    "scored": scored,
                }
                rows += [
                    head | {"finding": name, "n": 202, "auc": auc} for name in FINDINGS
                ]
                loss = 0.3 + slope * eps * 1.4
                rows.append(
                    head | {"finding": "all", "n": 202, "auc": auc, "loss": loss}
                )
    return rows


def landscape_rows(points=20, images=("case 1", "case 2")):
    steps = np.linspace(-0.5, 0.5, points).tolist()
    steepness = {"standard": 6.0, "single_bn": 1.5}
    return [
        {
            "variant": variant,
            "branch": branch,
            "image_id": image,
            "gradient_step": along,
            "random_step": across,
            "loss": float(
                0.3
                + steepness.get(variant, 5.0 if branch == "std" else 1.2)
                * ((along + 0.1 * place) ** 2 + 0.3 * across**2 * (1 + place))
            ),
        }
        for variant, branch in ARMS
        for place, image in enumerate(images)
        for across in steps
        for along in steps
    ]


def cka_rows(layers=53):
    models = {"standard[std]": 5, "single_bn[std]": 25, "dual_bn[std]": 7}
    models["dual_bn[adv]"] = 22
    return [
        {
            "model": model,
            "form": form,
            "images": 202,
            "layer_a": a,
            "layer_b": b,
            "name_a": f"conv{a}",
            "name_b": f"conv{b}",
            "cka": float(np.exp(-abs(a - b) / reach)),
        }
        for model, reach in models.items()
        for form in ("biased", "unbiased")
        for a in range(layers)
        for b in range(layers)
    ]


def data_size_rows():
    return [
        {
            "finding": finding,
            "variant": variant,
            "fraction": fraction,
            "images": int(191_027 * fraction),
            "auc": (auc := 0.62 + 0.1 * size + 0.02 * place - 0.03 * (variant == "x")),
            "sd": 0.02,
            "lo": auc - 0.04,
            "hi": auc + 0.04,
            "n": 202,
            "n_pos": 40,
        }
        for finding in FINDINGS
        for place, variant in enumerate(VARIANTS)
        for size, fraction in enumerate((0.01, 0.1, 1.0))
    ]


def label_rows():
    counts = (("invented", "train", 9000), ("invented", "dev", 1000))
    counts += (("invented", "test", 1000), ("elsewhere", "test", 22433))
    return [
        {
            "dataset": dataset,
            "split": split,
            "finding": finding,
            "images": images,
            "patients": images // 3,
            "positive": (positive := round(images * (0.06 + 0.11 * place))),
            "negative": images - positive - images // 10,
            "unknown": images // 10,
            "share": positive / (images - images // 10),
        }
        for dataset, split, images in counts
        for place, finding in enumerate(FINDINGS)
    ]


def lipschitz_rows():
    return [
        {
            "variant": variant,
            "branch": branch,
            "image_id": image,
            "n": 1,
            "estimate": 10.0 / STRENGTH[variant, branch],
            "mean_slope": 4.0 / STRENGTH[variant, branch],
        }
        for variant, branch in ARMS
        for image in ("case 1", "case 2", "all")
    ]


def all_tables(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "label_distribution": label_rows(),
        "classifier_metrics": [
            *metrics_rows(rng),
            *(undefined_metrics_row(variant=variant) for variant in VARIANTS),
        ],
        "classifier_compare": compare_rows(rng),
        "matching": [
            {"finding": "Effusion", "ours": "Pleural Effusion", "theirs": "Effusion"},
        ],
        "data_size": data_size_rows(),
        "robustness": robustness_rows(),
        "localization": localization_rows(),
        "randomization": randomization_rows(),
        "landscape": landscape_rows(),
        "lipschitz": lipschitz_rows(),
        "cka": cka_rows(),
    }


def curves(rng, n=400):
    roc, precision_recall = [], []
    for finding in FINDINGS:
        labels = rng.random(n) < 0.2
        for place, variant in enumerate(VARIANTS):
            scores = rng.normal(size=n) + labels * (1.6 - 0.3 * place)
            sorted_labels = labels[np.argsort(-scores)]
            true, false = np.cumsum(sorted_labels), np.cumsum(~sorted_labels)
            recall = np.r_[0, true / true[-1]]
            rate = np.r_[0, false / false[-1]]
            precision = np.r_[1, true / (true + false)]
            area = float(np.trapezoid(recall, rate))
            about = {"finding": finding, "variant": variant, "n": n}
            about["n_pos"] = int(labels.sum())
            best = int(np.argmin(rate**2 + (1 - recall) ** 2))
            roc.append(
                OutcomeCurve(
                    x=rate,
                    y=recall,
                    label=f"AUC {area:.2f}",
                    point=(float(rate[best]), float(recall[best])),
                    **about,
                )
            )
            precision_recall.append(
                OutcomeCurve(x=recall, y=precision, label="AP 0.61", **about)
            )
    return roc, precision_recall


def exhibits(seed=1):
    rng = np.random.default_rng(seed)
    roc, precision_recall = curves(rng)
    return {
        "roc": roc,
        "precision_recall": precision_recall,
        "saliency": [example(rng, place) for place in range(2)],
        "attack": [attacked(rng, *arm) for arm in ARMS if arm != ("dual_bn", "std")],
    }


def example(rng, place):
    down, across = np.mgrid[:SIZE, :SIZE] / SIZE
    image = np.uint8(255 * (0.25 + 0.5 * np.exp(-8 * (across - 0.5) ** 2) * down))
    mask = (across - 0.35 - 0.2 * place) ** 2 + (down - 0.6) ** 2 < 0.02
    maps = {
        name: np.clip(rng.normal(size=mask.shape) * (0.25 + weight * mask), -1, 1)
        for name, weight in (
            ("standard", 0.0),
            ("single_bn", 0.4),
            ("dual_bn [std]", 0.1),
            ("dual_bn [adv]", 0.7),
        )
    }
    return SaliencyExample(
        image_id=f"case {place}",
        findings="Cardiomegaly",
        image=image,
        maps=maps,
        quantity="the gradient of the loss to the pixels",
        meaning="Where it is red, a brighter pixel raises the loss.",
        mask=mask,
    )


def attacked(rng, variant, branch):
    image = example(rng, 0).image / 255
    noise = 0.002 * np.sign(rng.normal(size=image.shape))
    return AttackExample(
        image_id="case 0",
        variant=variant,
        branch=branch,
        image=image,
        attacked=np.clip(image + noise, 0, 1),
        eps=0.002,
        outcome="Cardiomegaly 0.91 to 0.12",
    )
