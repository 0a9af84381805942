from django.apps import AppConfig
from django.core.checks import Tags, register


class ReaderStudyConfig(AppConfig):
    name = "readerstudy"
    verbose_name = "Reader studies"

    def ready(self) -> None:
        from readerstudy.checks import check_triggers, check_triggers_deployed

        register(check_triggers, Tags.database)
        register(check_triggers_deployed, Tags.security, deploy=True)
