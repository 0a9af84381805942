"""What commands wrote, to look at: the folders are the record, nothing changes here."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from mlcore.models import Dataset, TrainingRun

if TYPE_CHECKING:
    # Generic for the type checker alone; the class itself takes no parameter.
    DatasetModelAdmin = admin.ModelAdmin[Dataset]
    TrainingRunModelAdmin = admin.ModelAdmin[TrainingRun]
else:
    DatasetModelAdmin = TrainingRunModelAdmin = admin.ModelAdmin


class ReadOnly:
    """For rows that mirror folders."""

    def has_add_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        return False

    def has_change_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        return False

    def has_delete_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        return False


@admin.register(Dataset)
class DatasetAdmin(ReadOnly, DatasetModelAdmin):
    list_display = ["name", "modality", "image_size", "imported_at"]


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnly, TrainingRunModelAdmin):
    list_display = [
        "run_id",
        "dataset",
        "variant",
        "status",
        "progress",
        "development_loss",
        "areas_under_curve",
        "started_at",
    ]
    list_filter = ["status", "dataset", "variant"]
    search_fields = ["run_id", "dataset"]

    @admin.display(description="epochs")
    def progress(self, run: TrainingRun) -> str:
        return f"{run.epoch} of {run.epochs}"

    @admin.display(description="dev loss")
    def development_loss(self, run: TrainingRun) -> str:
        last = run.result.get("last_epoch", {}).get("dev_loss")
        loss = run.result.get("dev", {}).get("loss", last)
        return "" if loss is None else f"{loss:.3f}"

    @admin.display(description="dev AUC")
    def areas_under_curve(self, run: TrainingRun) -> str:
        areas = run.result.get("dev", {}).get("auc", {})
        return ", ".join(
            f"{finding} {'undefined' if area is None else format(area, '.3f')}"
            for finding, area in areas.items()
        )
