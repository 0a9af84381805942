"""Database trigger that lets no event in whose answer its study does not ask for.

A net below `trial.protocol.answers`, which says in words what is wrong: against raw SQL
and whatever else writes past it. It knows the kinds, ranges and options of the study's
questions, that the primary one is answered, and the reasons why none is; what depends
on the case or on other answers it leaves to the module. SQLite keeps a document as it
was written, with a key that stands in it twice; PostgreSQL keeps the last of the two.
"""

# ruff: noqa: S608  (all of the SQL is this file's own)

NAME = "readerstudy_ratingevent_check_answer"
TABLE = "readerstudy_ratingevent"
MESSAGE = "an answer is what its study asks for"

# Of one value, by its type and itself, whether it is none of its question.
_SQLITE_IS_WRONG = """CASE "kind"
 WHEN 'scale' THEN NOT ("type" = 'integer' AND "value" BETWEEN "start" AND "end")
 WHEN 'slider' THEN NOT ("type" = 'integer' AND "value" BETWEEN 0 AND 100)
 WHEN 'yes_no' THEN "type" NOT IN ('true', 'false')
 WHEN 'choice' THEN "type" <> 'text' OR "value" NOT IN
  (SELECT json_extract("o"."value", '$.key') FROM json_each("options") AS "o")
 WHEN 'text' THEN "type" <> 'text'
 ELSE "type" <> 'array' END"""

SQLITE = f"""CREATE TRIGGER "{NAME}" BEFORE INSERT ON "{TABLE}"
WHEN NEW."answer" IS NOT NULL
BEGIN
 SELECT RAISE(ABORT, '{TABLE}: {MESSAGE}')
 FROM "readerstudy_enrolment" AS "e"
 JOIN "readerstudy_study" AS "s" ON "s"."id" = "e"."study_id"
 WHERE "e"."id" = NEW."enrolment_id" AND (
  json_type(NEW."answer", '$.answers') IS NOT 'object'
  OR EXISTS (SELECT 1 FROM json_each(NEW."answer") AS "t"
   WHERE "t"."key" NOT IN ('answers', 'cannot_judge'))
  OR EXISTS (SELECT 1 FROM json_tree(NEW."answer") AS "t"
   WHERE "t"."key" IS NOT NULL
   GROUP BY "t"."parent", "t"."key" HAVING count(*) > 1)
  OR NEW."kind" = 'cannot_judge' AND NOT EXISTS (
   SELECT 1 FROM json_each("s"."protocol", '$.cannot_judge') AS "r"
   WHERE json_extract("r"."value", '$.key')
    = json_extract(NEW."answer", '$.cannot_judge'))
  OR NEW."kind" <> 'cannot_judge' AND EXISTS (
   SELECT 1 FROM json_each("s"."protocol", '$.questions') AS "q"
   WHERE json_extract("q"."value", '$.key') = json_extract("s"."protocol", '$.primary')
   AND NEW."stage" = 'map'
   AND json_type(NEW."answer", '$.answers.' || json_extract("q"."value", '$.key'))
    IS NULL)
  OR EXISTS (
   WITH "question" AS (
    SELECT json_extract("q"."value", '$.key') AS "key",
     json_extract("q"."value", '$.kind') AS "kind",
     coalesce(json_extract("q"."value", '$.per'), 'case') AS "per",
     coalesce(json_extract("q"."value", '$.from'), 0) AS "start",
     coalesce(json_extract("q"."value", '$.from'), 0)
      + json_array_length("q"."value", '$.anchors') - 1 AS "end",
     json_extract("q"."value", '$.options') AS "options"
    FROM json_each("s"."protocol", '$.questions') AS "q"),
   "given" AS (
    SELECT "a"."key" AS "key", "a"."type" AS "type", "a"."value" AS "value",
     "a"."fullkey" AS "place"
    FROM json_each(NEW."answer", '$.answers') AS "a")
   SELECT 1 FROM "given" LEFT JOIN "question" USING ("key")
   WHERE "kind" IS NULL
    OR "per" = 'finding' AND "type" <> 'object'
    OR "per" = 'case' AND {_SQLITE_IS_WRONG}
    OR "per" = 'finding' AND EXISTS (
     SELECT 1 FROM (
      SELECT "f"."type" AS "type", "f"."value" AS "value"
      FROM json_each(NEW."answer", "place") AS "f")
     WHERE {_SQLITE_IS_WRONG})));
END"""

_POSTGRESQL_IS_WRONG = """CASE question ->> 'kind'
   WHEN 'scale' THEN jsonb_typeof(given) <> 'number' OR given::text !~ '^-?[0-9]+$'
    OR given::text::numeric NOT BETWEEN coalesce((question ->> 'from')::int, 0)
     AND coalesce((question ->> 'from')::int, 0)
      + jsonb_array_length(question -> 'anchors') - 1
   WHEN 'slider' THEN jsonb_typeof(given) <> 'number'
    OR given::text !~ '^[0-9]+$' OR given::text::numeric > 100
   WHEN 'yes_no' THEN jsonb_typeof(given) <> 'boolean'
   WHEN 'choice' THEN jsonb_typeof(given) <> 'string' OR NOT EXISTS (
    SELECT 1 FROM jsonb_array_elements(question -> 'options') AS o
    WHERE o -> 'key' = given)
   WHEN 'text' THEN jsonb_typeof(given) <> 'string'
   ELSE jsonb_typeof(given) <> 'array' END"""

# PostgreSQL keeps this very text, to compare with.
POSTGRESQL_BODY = f"""
DECLARE
 protocol jsonb;
 answers jsonb := NEW.answer -> 'answers';
 question jsonb;
 name text;
 value jsonb;
 given jsonb;
BEGIN
 IF NEW.answer IS NULL THEN RETURN NEW; END IF;
 SELECT s.protocol INTO protocol FROM readerstudy_enrolment e
  JOIN readerstudy_study s ON s.id = e.study_id WHERE e.id = NEW.enrolment_id;
 IF jsonb_typeof(answers) IS DISTINCT FROM 'object'
  OR NEW.answer - 'answers' - 'cannot_judge' <> '{{}}' THEN
  RAISE EXCEPTION '%: {MESSAGE}', TG_TABLE_NAME
   USING ERRCODE = 'integrity_constraint_violation';
 END IF;
 IF NEW.kind = 'cannot_judge' AND NOT EXISTS (
  SELECT 1 FROM jsonb_array_elements(CASE jsonb_typeof(protocol -> 'cannot_judge')
   WHEN 'array' THEN protocol -> 'cannot_judge' ELSE '[]' END) AS r
  WHERE r -> 'key' = NEW.answer -> 'cannot_judge') THEN
  RAISE EXCEPTION '%: {MESSAGE}', TG_TABLE_NAME
   USING ERRCODE = 'integrity_constraint_violation';
 END IF;
 SELECT q INTO question FROM jsonb_array_elements(protocol -> 'questions') AS q
  WHERE q -> 'key' = protocol -> 'primary';
 IF NEW.kind <> 'cannot_judge'
  AND NEW.stage = 'map'
  AND NOT answers ? (question ->> 'key') THEN
  RAISE EXCEPTION '%: {MESSAGE}', TG_TABLE_NAME
   USING ERRCODE = 'integrity_constraint_violation';
 END IF;
 FOR name, value IN SELECT * FROM jsonb_each(answers) LOOP
  question := NULL;
  SELECT q INTO question FROM jsonb_array_elements(protocol -> 'questions') AS q
   WHERE q ->> 'key' = name;
  IF question IS NULL OR question ->> 'per' = 'finding'
   AND jsonb_typeof(value) <> 'object' THEN
   RAISE EXCEPTION '%: {MESSAGE}', TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  FOR given IN SELECT v FROM jsonb_array_elements(CASE question ->> 'per'
    WHEN 'finding' THEN jsonb_path_query_array(value, '$.*')
    ELSE jsonb_build_array(value) END) AS v LOOP
   IF ({_POSTGRESQL_IS_WRONG}) THEN
    RAISE EXCEPTION '%: {MESSAGE}', TG_TABLE_NAME
     USING ERRCODE = 'integrity_constraint_violation';
   END IF;
  END LOOP;
 END LOOP;
 RETURN NEW;
END """


def creating_sql(vendor: str) -> list[str]:
    """The statements that make the trigger, where there is none."""
    if vendor == "postgresql":
        return [
            f'CREATE FUNCTION "{NAME}"() RETURNS trigger '
            f"LANGUAGE plpgsql AS $${POSTGRESQL_BODY}$$",
            f'CREATE TRIGGER "{NAME}" BEFORE INSERT ON "{TABLE}" '
            f'FOR EACH ROW EXECUTE FUNCTION "{NAME}"()',
            f'ALTER TABLE "{TABLE}" ENABLE ALWAYS TRIGGER "{NAME}"',
        ]
    return [SQLITE]


def dropping_sql(vendor: str) -> list[str]:
    """The statements after which there is none."""
    if vendor == "postgresql":
        return [
            f'DROP TRIGGER IF EXISTS "{NAME}" ON "{TABLE}"',
            f'DROP FUNCTION IF EXISTS "{NAME}"',
        ]
    return [f'DROP TRIGGER IF EXISTS "{NAME}"']
