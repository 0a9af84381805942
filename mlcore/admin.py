"""What commands wrote, to look at: the folders are the record, nothing changes here."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from mlcore.models import Dataset

if TYPE_CHECKING:
    # Generic for the type checker alone; the class itself takes no parameter.
    DatasetModelAdmin = admin.ModelAdmin[Dataset]
else:
    DatasetModelAdmin = admin.ModelAdmin


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
