"""A study is data: its protocol is one document, an answer another, by question.

The documents are made of the columns as they lie, by functions of this file alone (see
`0004_event_payload`). Payloads and hashes stay as they are: what was recorded is theirs,
and columns are an index into it. A row that was changed after it was written stays
changed, and `verify_ledger` goes on telling.

There is no way back: answers to other questions have no column to go to.
"""

import json

import django.db.models.deletion
from django.db import migrations, models

from readerstudy.triggers import InstallTriggers, SuspendTriggers


GUARDED = ['presentation', 'ratingevent', 'studyevent']

CANNOT_JUDGE = [
    {'key': 'finding_not_visible', 'text': 'The finding is not visible to me'},
    {'key': 'image_quality', 'text': 'The image quality does not allow it'},
    {'key': 'other', 'text': 'Another reason'},
]
EACH = {'when': 'with', 'per': 'case', 'repeat': 'each'}
CONFIDENCE = {
    'key': 'confidence',
    'kind': 'scale',
    'text': 'How sure are you?',
    'from': 1,
    'anchors': ['not at all', '', '', '', 'very'],
    'required': True,
    **EACH,
}
COMMENT = {
    'key': 'comment',
    'kind': 'text',
    'text': 'Comment',
    'longest': 2000,
    'required': False,
    **EACH,
}
# Until then every study was analysed like this.
ANALYSIS = {
    'alpha': 0.001,
    'pooling': 'complete',
    'margin': None,
    'threshold': None,
    'primary_dataset': None,
}
COLUMNS = (
    'question', 'anchors', 'instructions', 'consent', 'opacity', 'display_mode', 'legend',
    'blocks', 'sessions', 'washout_days', 'repeats', 'ratings_can_change',
    'asks_confidence', 'primary_analysis',
)
PROTOCOLS = (
    'SELECT "id", "question", CAST("anchors" AS text), "instructions", "consent", '
    '"opacity", "display_mode", CAST("legend" AS text), "blocks", "sessions", '
    '"washout_days", "repeats", "ratings_can_change", "asks_confidence", '
    '"primary_analysis" FROM "readerstudy_study"'
)
SET_PROTOCOL = 'UPDATE "readerstudy_study" SET "protocol" = %s WHERE "id" = %s'

ANSWERS = (
    'SELECT "id", "kind", "rating", "confidence", "comment", "reason" '
    'FROM "readerstudy_ratingevent" '
    "WHERE \"kind\" IN ('rate', 'change', 'cannot_judge')"
)
SET_ANSWER = (
    'UPDATE "readerstudy_ratingevent" SET "answer" = %s, "reason" = %s WHERE "id" = %s'
)
SET_CASE_AND_ARM = (
    'UPDATE "readerstudy_presentation" SET '
    '"case_id" = (SELECT "case_id" FROM "readerstudy_overlay" "o" WHERE "o"."id" = "overlay_id"), '
    '"arm_id" = (SELECT "arm_id" FROM "readerstudy_overlay" "o" WHERE "o"."id" = "overlay_id")'
)


def fill_protocols(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(PROTOCOLS)
        rows = [
            (json.dumps(protocol(dict(zip(COLUMNS, row))), default=str), key)
            for key, *row in cursor.fetchall()
        ]
        cursor.executemany(SET_PROTOCOL, rows)


def protocol(study):
    rating = {
        'key': 'rating',
        'kind': 'scale',
        'text': study['question'],
        'from': 0,
        'anchors': json_value(study['anchors']),
        'required': True,
        **EACH,
    }
    confidence = [CONFIDENCE] if study['asks_confidence'] else []
    return {
        'schema': 2,
        'template': 'paper',
        'languages': ['en'],
        'questions': [rating, *confidence, COMMENT],
        'primary': 'rating',
        'cannot_judge': CANNOT_JUDGE,
        'reference': 'shown',
        'reading': 'map',
        'findings': [],
        'instructions': study['instructions'],
        'consent': study['consent'],
        'opacity': study['opacity'],
        'display_mode': study['display_mode'],
        'legend': json_value(study['legend']),
        'blocks': study['blocks'],
        # What neither of them was stays what it is.
        'sessions': {1: 'one', 3: 'per_arm'}.get(study['sessions'], study['sessions']),
        'washout_days': study['washout_days'],
        'repeats': study['repeats'],
        'ratings_can_change': bool(study['ratings_can_change']),
        'primary_analysis': study['primary_analysis'],
        'break_after': {'answers': 40, 'minutes': 30},
        'open_by': 'one',
        'ended_runs': 'keep',
        'ends_on': None,
        'guess_arms': False,
        'analysis': ANALYSIS,
    }


def json_value(text):
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return str(text)


def fill_cases_and_arms(apps, schema_editor):
    schema_editor.execute(SET_CASE_AND_ARM)
    if schema_editor.connection.vendor == 'postgresql':
        # A table with checks that are still to come cannot be altered.
        schema_editor.execute('SET CONSTRAINTS ALL IMMEDIATE')
        schema_editor.execute('SET CONSTRAINTS ALL DEFERRED')


def fill_answers(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(ANSWERS)
        rows = [(*document(*row), key) for key, *row in cursor.fetchall()]
        cursor.executemany(SET_ANSWER, rows)


def document(kind, rating, confidence, comment, reason):
    """The answer as JSON, and what is left of the reason."""
    answers = {'confidence': confidence} if confidence is not None else {}
    answers |= {'comment': comment} if comment else {}
    if kind == 'cannot_judge':
        content, reason = {'answers': answers, 'cannot_judge': reason}, ''
    else:
        content = {'answers': {'rating': rating, **answers}}
    # What SQLite keeps in spite of the column's type becomes a text.
    return json.dumps(plain(content), default=str), reason


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value if type(value) in (int, str) else str(value)


class Migration(migrations.Migration):

    dependencies = [
        ('readerstudy', '0004_event_payload'),
    ]

    operations = [
        SuspendTriggers(models=GUARDED),
        # The protocol.
        migrations.AddField(
            model_name='study',
            name='protocol',
            field=models.JSONField(default=dict, help_text='all that readers are told and asked: `readerstudy.trial.protocol`'),
            preserve_default=False,
        ),
        migrations.RunPython(fill_protocols),
        migrations.RemoveConstraint(model_name='study', name='study_opacity_0_to_1'),
        migrations.RemoveConstraint(model_name='study', name='study_repeats_0_to_a_quarter'),
        migrations.RemoveField(model_name='study', name='anchors'),
        migrations.RemoveField(model_name='study', name='asks_confidence'),
        migrations.RemoveField(model_name='study', name='blocks'),
        migrations.RemoveField(model_name='study', name='consent'),
        migrations.RemoveField(model_name='study', name='display_mode'),
        migrations.RemoveField(model_name='study', name='instructions'),
        migrations.RemoveField(model_name='study', name='legend'),
        migrations.RemoveField(model_name='study', name='opacity'),
        migrations.RemoveField(model_name='study', name='primary_analysis'),
        migrations.RemoveField(model_name='study', name='question'),
        migrations.RemoveField(model_name='study', name='ratings_can_change'),
        migrations.RemoveField(model_name='study', name='repeats'),
        migrations.RemoveField(model_name='study', name='sessions'),
        migrations.RemoveField(model_name='study', name='washout_days'),
        # What a presentation shows.
        migrations.AddField(
            model_name='presentation',
            name='arm',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='presentations', to='readerstudy.arm'),
        ),
        migrations.AddField(
            model_name='presentation',
            name='case',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='presentations', to='readerstudy.case'),
        ),
        migrations.RunPython(fill_cases_and_arms),
        migrations.AlterField(
            model_name='presentation',
            name='arm',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='presentations', to='readerstudy.arm'),
        ),
        migrations.AlterField(
            model_name='presentation',
            name='case',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='presentations', to='readerstudy.case'),
        ),
        migrations.AlterField(
            model_name='presentation',
            name='overlay',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='presentations', to='readerstudy.overlay'),
        ),
        migrations.RemoveConstraint(model_name='presentation', name='presentation_once_per_repeat'),
        migrations.AddConstraint(
            model_name='presentation',
            constraint=models.UniqueConstraint(fields=('enrolment', 'case', 'arm', 'repeat'), name='presentation_once_per_repeat'),
        ),
        migrations.AddField(
            model_name='case',
            name='truth',
            field=models.JSONField(blank=True, help_text='by finding; never sent to readers', null=True),
        ),
        migrations.AddField(
            model_name='enrolment',
            name='language',
            field=models.CharField(blank=True, help_text='of the questions, chosen at consent', max_length=10),
        ),
        # Answers.
        migrations.AddField(
            model_name='ratingevent',
            name='answer',
            field=models.JSONField(blank=True, help_text='answers by question, and cannot_judge: `trial.protocol.answers`', null=True),
        ),
        migrations.AddField(
            model_name='ratingevent',
            name='language',
            field=models.CharField(blank=True, help_text='that the questions were asked in', max_length=10),
        ),
        migrations.AddField(
            model_name='ratingevent',
            name='stage',
            field=models.CharField(choices=[('image', 'the image alone'), ('map', 'the image with its map')], default='map', max_length=10),
        ),
        migrations.RemoveConstraint(model_name='ratingevent', name='rating_event_once_per_kind'),
        migrations.RemoveConstraint(model_name='ratingevent', name='rating_event_0_to_5'),
        migrations.RemoveConstraint(model_name='ratingevent', name='rating_event_says_why_not'),
        migrations.RemoveConstraint(model_name='ratingevent', name='rating_event_confidence_1_to_5'),
        migrations.RunPython(fill_answers),
        migrations.RemoveField(model_name='ratingevent', name='comment'),
        migrations.RemoveField(model_name='ratingevent', name='confidence'),
        migrations.RemoveField(model_name='ratingevent', name='old_rating'),
        migrations.RemoveField(model_name='ratingevent', name='rating'),
        migrations.AlterField(
            model_name='ratingevent',
            name='overlay_sha256',
            field=models.CharField(blank=True, help_text='of the map shown, if there was one', max_length=64),
        ),
        migrations.AlterField(
            model_name='ratingevent',
            name='reason',
            field=models.TextField(blank=True, help_text='why the answer is void'),
        ),
        migrations.AddConstraint(
            model_name='ratingevent',
            constraint=models.UniqueConstraint(condition=models.Q(('kind__in', ['shown', 'rate'])), fields=('presentation', 'kind', 'stage'), name='rating_event_once_per_kind'),
        ),
        migrations.AddConstraint(
            model_name='ratingevent',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('answer__isnull', True), ('kind__in', ['shown', 'void'])), models.Q(('answer__has_key', 'answers'), ('answer__isnull', False), ('kind__in', ['rate', 'change']), models.Q(('answer__has_key', 'cannot_judge'), _negated=True)), models.Q(('answer__has_keys', ['answers', 'cannot_judge']), ('answer__isnull', False), ('kind', 'cannot_judge')), _connector='OR'), name='rating_event_answers_its_kind'),
        ),
        migrations.AlterField(
            model_name='studyevent',
            name='kind',
            field=models.CharField(choices=[('created', 'created'), ('enrolled', 'reader enrolled'), ('withdrawn', 'reader withdrawn before opening'), ('role_given', 'role given'), ('role_ended', 'role ended'), ('password_changed', 'password changed by another person'), ('protocol', 'protocol changed'), ('opened', 'opened'), ('consented', 'reader consented'), ('display_checked', 'display checked'), ('signed_off', 'reader signed off'), ('voided', "reader's run voided"), ('case_unblinded', 'one case unblinded'), ('locked', 'locked'), ('unblinded', 'unblinded'), ('analysed', 'analysed'), ('guess_shown', 'reader shown the maps to guess'), ('guessed', 'reader guessed the arms')], max_length=20),
        ),
        InstallTriggers(models=GUARDED),
    ]
