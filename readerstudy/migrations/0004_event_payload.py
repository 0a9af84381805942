"""Keep with each event the text that its hash covers.

The text is made of the row as it lies, by functions of this file alone: those of the
application go on changing, and a database of today has to get here whenever. A row that
was changed after it was written gives a text that its hash does not fit. It is kept and
told, here in a line for each chain and by `verify_ledger` ever after.
"""

import hashlib
import json
import math
import sys
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db import migrations, models

from readerstudy.triggers import InstallTriggers, SuspendTriggers


GUARDED = ['ratingevent', 'studyevent']

STUDIES = 'SELECT "id", "uuid", "name" FROM "readerstudy_study" ORDER BY "id"'
ENROLMENTS = (
    'SELECT "e"."id", "e"."uuid", "s"."uuid", "u"."username", "e"."run", "s"."name" '
    'FROM "readerstudy_enrolment" "e" '
    'JOIN "readerstudy_study" "s" ON "s"."id" = "e"."study_id" '
    'JOIN "auth_user" "u" ON "u"."id" = "e"."reader_id" ORDER BY "e"."id"'
)
STUDY_EVENTS = (
    'SELECT "id", "hash", "number", "previous_hash", "kind", "username", "reason", '
    'CAST("details" AS text), {at} '
    'FROM "readerstudy_studyevent" WHERE "study_id" = %s ORDER BY "number"'
)
RATING_EVENTS = (
    'SELECT "v"."id", "hash", "number", "previous_hash", "kind", "username", "reason", '
    'CAST("viewer" AS text), {at}, "token", "overlay_sha256", "rating", "old_rating", '
    '"comment", "confidence" '
    'FROM "readerstudy_ratingevent" "v" '
    'LEFT JOIN "readerstudy_presentation" "p" ON "p"."id" = "v"."presentation_id" '
    'WHERE "v"."enrolment_id" = %s ORDER BY "number"'
)
# As text in any case: SQLite would have Django read it, and fail on what is no time.
AT = {
    'sqlite': 'CAST("at" AS text)',
    'postgresql': """to_char("at" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
}


def fill_payloads(apps, schema_editor):
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        chains = [*study_chains(cursor), *rating_chains(cursor)]
        for owner, genesis, table, query, key, record in chains:
            cursor.execute(query.format(at=AT[connection.vendor]), [key])
            events = [Event(*row[:4], record(*row[4:])) for row in cursor.fetchall()]
            cursor.executemany(
                f'UPDATE "{table}" SET "payload" = %s WHERE "id" = %s',
                [(event.payload, event.key) for event in events],
            )
            problem = first_problem(genesis, events)
            if problem:
                line = f'Broken before this upgrade and kept as it is: {owner}, {problem}.'
                # `migrate` has not ended its own line yet.
                sys.stderr.write(f'\n{line}\n')


def study_chains(cursor):
    """Of each study's chain its name, genesis, table, query, key and form of a record."""
    cursor.execute(STUDIES)
    for key, uuid, name in cursor.fetchall():
        study = uuid_text(uuid)
        genesis = {'chain': 'study events', 'version': 1, 'study': study}
        yield (
            f"study '{name}'", sha256(canonical(genesis)), 'readerstudy_studyevent',
            STUDY_EVENTS, key, partial(study_record, study),
        )


def rating_chains(cursor):
    """The same of each run of a reader."""
    cursor.execute(ENROLMENTS)
    for key, uuid, study, reader, run, name in cursor.fetchall():
        enrolment = uuid_text(uuid)
        owner = {'study': uuid_text(study), 'enrolment': enrolment}
        genesis = {'chain': 'rating events', 'version': 1, **owner}
        yield (
            f"reader {reader}, run {run} of study '{name}'", sha256(canonical(genesis)),
            'readerstudy_ratingevent', RATING_EVENTS, key, partial(rating_record, enrolment),
        )


class Event:
    def __init__(self, key, hash_, number, previous_hash, record):
        self.key = key
        self.hash = hash_
        self.number = number
        self.previous_hash = previous_hash
        place = {'number': number, 'previous_hash': previous_hash}
        self.payload = canonical({'record': record, **place})


def first_problem(genesis, events):
    """What is wrong with a chain, and where; '' where nothing is."""
    previous = genesis
    for place, event in enumerate(events, start=1):
        if event.number != place:
            return (
                f'event {place}: its number is {event.number}; an event was removed '
                'or added'
            )
        if event.previous_hash != previous:
            return f'event {place}: previous_hash is not that of the event before'
        if event.hash != sha256(event.payload):
            return f'event {place}: hash is not that of its fields; one was changed'
        previous = event.hash
    return ''


def study_record(study, kind, username, reason, details, at):
    return {
        'study': study,
        'kind': kind,
        'user': username,
        'reason': reason,
        'details': json_value(details),
        'at': time_text(at),
    }


def rating_record(
    enrolment, kind, username, reason, viewer, at, token, overlay_sha256, rating,
    old_rating, comment, confidence,
):
    return {
        'enrolment': enrolment,
        'presentation': token,
        'overlay_sha256': overlay_sha256,
        'kind': kind,
        'rating': rating,
        'old_rating': old_rating,
        'reason': reason,
        'comment': comment,
        'confidence': confidence,
        'viewer': json_value(viewer),
        'user': username,
        'at': time_text(at),
    }


# A value that is none of its kind becomes a text here: no hash fits it, and no upgrade
# ends over it.


def json_value(text):
    try:
        return plain(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return str(text)


def time_text(text):
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
        return moment.replace(tzinfo=None).isoformat(timespec='microseconds') + 'Z'
    except (ValueError, TypeError, OverflowError):
        return str(text)


def uuid_text(value):
    try:
        return str(UUID(str(value)))
    except ValueError:
        return str(value)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(',', ':'), default=str)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(Decimal(repr(value))) if value.is_integer() else value
    return value


def sha256(text):
    return hashlib.sha256(text.encode('ascii')).hexdigest()


class Migration(migrations.Migration):

    dependencies = [
        ('readerstudy', '0003_password_changed'),
    ]

    operations = [
        SuspendTriggers(models=GUARDED),
        migrations.AddField(
            model_name='ratingevent',
            name='payload',
            field=models.TextField(default='', help_text='all that is recorded, number and previous_hash: canonical JSON'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='studyevent',
            name='payload',
            field=models.TextField(default='', help_text='all that is recorded, number and previous_hash: canonical JSON'),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='ratingevent',
            name='hash',
            field=models.CharField(help_text='SHA-256 of the payload', max_length=64),
        ),
        migrations.AlterField(
            model_name='studyevent',
            name='hash',
            field=models.CharField(help_text='SHA-256 of the payload', max_length=64),
        ),
        migrations.RunPython(fill_payloads, migrations.RunPython.noop),
        InstallTriggers(models=GUARDED),
    ]
