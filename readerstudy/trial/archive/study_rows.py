"""Serialisation of a study's rows: JSON values out, rows in another database in.

A value is what the database gives, exactly: times to the microsecond, numbers as they
are. A row refers to another by the other's key in the database that it comes from, and
to a person by user name.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.models import Field, Model

from readerstudy.models import (
    Arm,
    Case,
    Enrolment,
    Membership,
    Overlay,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.trial.checked_json import is_text
from readerstudy.trial.record.hash_chain import time_text

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]

LONGEST_USER_NAME = 150

# By table its model and the way to the study, each after those that its rows refer to.
TABLES: Mapping[str, tuple[type[Model], str]] = {
    "study": (Study, "pk"),
    "membership": (Membership, "study"),
    "arm": (Arm, "study"),
    "case": (Case, "study"),
    "overlay": (Overlay, "case__study"),
    "enrolment": (Enrolment, "study"),
    "presentation": (Presentation, "enrolment__study"),
    "study_event": (StudyEvent, "study"),
    "rating_event": (RatingEvent, "enrolment__study"),
}


class RowsError(ValueError):
    """Rows that are not those of a study, in one line that begins with the table."""


def rows_of(study: Study) -> dict[str, list[Row]]:
    """Every row of the study by table, oldest first."""
    names = dict(User.objects.values_list("pk", "username"))
    return {
        table: [
            _written(model, row, names)
            for row in model._default_manager.filter(**{way: study.pk})
            .order_by("pk")
            .values()
        ]
        for table, (model, way) in TABLES.items()
    }


def people_in(tables: Mapping[str, Iterable[Row]]) -> list[str]:
    """The user names in the rows, sorted.

    Raises:
        RowsError: something else stands there.
    """
    names = set()
    for table, (model, _) in TABLES.items():
        for field in _fields(model):
            if field.related_model is User:
                names |= {_name(table, field.attname, row) for row in tables[table]}
    return sorted(names - {""})


def add_rows(
    tables: Mapping[str, Iterable[Row]], people: Mapping[str, User]
) -> dict[str, list[Model]]:
    """Add the rows that `rows_of` gave, in the same order, under new keys.

    Needs a transaction. The database checks what it can; whether the rows are those of
    a study is for `verification` to say.

    Args:
        people: everybody whom the rows name, by user name.

    Raises:
        RowsError: not such rows.
    """
    keys: dict[Any, dict[int, int]] = {}
    added: dict[str, list[Model]] = {}
    for table, (model, _) in TABLES.items():
        rows = list(tables[table])
        try:
            objects = [model(**_read(model, row, keys, people)) for row in rows]
            made = model._default_manager.bulk_create(objects, batch_size=1000)
            keys[model] = {
                row["id"]: new.pk for row, new in zip(rows, made, strict=True)
            }
        except ValidationError as error:
            raise RowsError(f"{table}: {error.messages[0]}") from error
        except (TypeError, ValueError, ArithmeticError, DatabaseError) as error:
            raise RowsError(f"{table}: {str(error).splitlines()[0]}") from error
        _set_times(model, rows, keys[model])
        added[table] = made
    return added


def _written(model: type[Model], row: Row, names: Mapping[int, str]) -> Row:
    people = {f.attname for f in _fields(model) if f.related_model is User}
    return {
        name: names.get(value) if name in people else _plain(value)
        for name, value in row.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    return str(value) if isinstance(value, UUID) else value


def _read(
    model: type[Model],
    row: Row,
    keys: Mapping[Any, Mapping[int, int]],
    people: Mapping[str, User],
) -> Row:
    """The values of a new object, by the names of its columns."""
    fields = {field.attname: field for field in _fields(model)}
    if set(row) != {"id", *fields}:
        differing = ", ".join(sorted(set(row) ^ {"id", *fields}))
        raise ValueError(f"a column too many or too few: {differing}")
    values = {}
    for name, field in fields.items():
        value = row[name]
        if field.related_model is None:
            values[name] = field.to_python(value)
            if isinstance(values[name], datetime):
                time_text(values[name])  # refuses a time without a zone
        elif value is None:
            values[name] = None
        elif field.related_model is User:
            values[name] = people[value].pk
        elif value not in keys[field.related_model]:
            raise ValueError(f"{name} is {value!r}, and there is no such row")
        else:
            values[name] = keys[field.related_model][value]
    return values


def _name(table: str, column: str, row: Row) -> str:
    """A person's user name; empty for nobody."""
    name = row.get(column)
    if name is not None and not (is_text(name) and 0 < len(name) <= LONGEST_USER_NAME):
        raise RowsError(f"{table}: {column} is {str(name)[:200]!r}, no user name")
    return name or ""


def _set_times(
    model: type[Model], rows: Iterable[Row], keys: Mapping[int, int]
) -> None:
    """Put back the times that Django sets by itself whenever a row is added."""
    names = [f.name for f in _fields(model) if getattr(f, "auto_now_add", False)]
    for row in rows if names else ():
        times = {name: row[name] for name in names}
        model._default_manager.filter(pk=keys[row["id"]]).update(**times)


def _fields(model: type[Model]) -> "list[Field[Any, Any]]":
    """The columns of a model but for its own key."""
    return [field for field in model._meta.concrete_fields if not field.primary_key]
