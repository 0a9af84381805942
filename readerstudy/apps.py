from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.core.checks import Tags, register


class ReaderStudyConfig(AppConfig):
    name = "readerstudy"
    verbose_name = "Reader studies"

    def ready(self) -> None:
        from readerstudy.checks import check_triggers, check_triggers_deployed

        register(check_triggers, Tags.database)
        register(check_triggers_deployed, Tags.security, deploy=True)


class StudyAdminConfig(AdminConfig):
    default_site = "readerstudy.admin_site.StudyAdminSite"
