"""What the admin shows of data sets and trainings.

The folders under `data/tables` and `data/runs` are the record; these rows only mirror
them, so that a person can look without a shell.
"""

from django.db import models


class Dataset(models.Model):
    """An image table that `import_dataset` wrote."""

    name = models.CharField(max_length=100, unique=True)
    folder = models.CharField(max_length=500)
    modality = models.CharField(max_length=50)
    classes = models.JSONField(help_text="names of the findings, in label order")
    image_size = models.PositiveIntegerField(help_text="pixels a side")
    counts = models.JSONField(help_text="images per split and finding")
    sha256 = models.CharField(max_length=64)
    imported_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name


class TrainingRun(models.Model):
    """One training of one variant: its settings, progress and result."""

    class Status(models.TextChoices):
        RUNNING = "running", "running"
        FINISHED = "finished", "finished"
        INTERRUPTED = "interrupted", "interrupted"
        FAILED = "failed", "failed"

    dataset = models.CharField(max_length=100)
    variant = models.CharField(max_length=50)
    run_id = models.CharField("run", max_length=100)
    folder = models.CharField(max_length=500, unique=True)
    status = models.CharField(
        max_length=20, choices=Status.choices, default=Status.RUNNING
    )
    config = models.JSONField()
    epoch = models.PositiveIntegerField(default=0)
    epochs = models.PositiveIntegerField()
    result = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.dataset}/{self.run_id}"
