"""What a methodologist asks of a blinded reader study, and which test sees to it.

M1 to M34 are requirements of the method, L1 to L42 ways in which an arm could leak. A
requirement without a test is met by how people work, and README says how.
"""

import ast
from functools import cache

import pytest

from tests.conftest import ROOT

PROCEDURE = "procedure"
MET_BY_PROCEDURE = {"M6", "M9", "M16", "M18", "L11", "L40", "L41"}

BLINDING = "web/test_blinding.py"
CANARIES = f"{BLINDING}::test_no_answer_names_an_arm_a_run_a_file_or_a_source"
TWINS = f"{BLINDING}::test_exchanging_two_arms_with_the_same_pixels_changes_no_byte"
COUNTED = f"{BLINDING}::test_nothing_that_can_be_counted_goes_with_the_arm"
ONE_PAGE = f"{BLINDING}::test_pages_differ_in_token_position_and_case_only"
DESIGN = "trial/order/test_design.py"
ENROLMENT = "trial/test_enrolment.py"
ANSWERS = "trial/test_answers.py"
FLOW = "web/test_flow.py"
STUDY = "trial/test_study.py"

MET_BY: dict[str, str | tuple[str, ...]] = {
    # Design and randomisation
    "M1": (
        "trial/test_protocol.py::test_each_key_is_part_of_the_protocols_hash",
        "trial/test_protocol.py::test_nobody_changes_it_once_the_study_is_open",
    ),
    "M2": (
        f"{DESIGN}::test_it_shows_each_case_under_each_arm_exactly_once",
        "trial/exports/test_exports.py::test_what_was_not_rated_is_an_empty_rating",
    ),
    "M3": (
        f"{DESIGN}::test_any_arm_precedes_any_other_equally_often",
        f"{DESIGN}::test_it_gives_each_order_of_the_arms_to_equally_many_cases",
    ),
    "M4": (
        f"{DESIGN}::test_the_same_seed_gives_the_same_list",
        f"{STUDY}::test_every_reader_has_an_order_that_can_be_made_again",
    ),
    "M5": (
        f"{DESIGN}::test_it_keeps_presentations_of_a_case_apart",
        f"{DESIGN}::test_no_arm_comes_more_than_three_times_in_a_row",
        f"{ANSWERS}::test_the_next_session_waits_for_the_washout",
        f"{ENROLMENT}::test_a_new_run_waits_for_the_washout_from_the_last_map_seen",
    ),
    "M6": PROCEDURE,
    "M7": ONE_PAGE,
    "M8": (
        f"{DESIGN}::test_repeats_are_fifteen_or_the_share_but_a_quarter_at_most",
        f"{ANSWERS}::test_practice_comes_first_and_repeats_in_the_last_round",
        "analysis/tables/test_intra_reader.py::"
        "test_repeats_and_training_change_no_other_table",
    ),
    "M9": PROCEDURE,
    # Blinding and independence
    "M10": (
        "trial/test_policies.py::test_it_asks_role_and_state_and_nothing_else",
        "trial/test_roles.py::"
        "test_the_database_itself_refuses_a_reader_with_another_role",
    ),
    "M11": (
        f"{STUDY}::test_it_goes_one_way",
        f"{STUDY}::test_an_allocator_unblinds_a_case_and_it_is_recorded",
    ),
    "M12": (
        "test_analyze_ratings.py::test_a_study_that_is_open_is_refused",
        "test_analyze_ratings.py::test_a_locked_study_is_analysed_by_letters",
        "test_verify_ledger.py::"
        "test_an_analysis_keeps_and_prints_the_heads_of_the_lock",
    ),
    "M13": (
        "web/test_study.py::test_a_reader_sees_nothing_of_another_readers_progress",
        "test_admin.py::test_an_enrolled_reader_is_refused_everywhere_and_told_why",
    ),
    "M14": (
        "trial/cases/test_bundle.py::test_it_refuses_a_map_of_another_size",
        "trial/cases/test_bundle.py::"
        "test_bundles_of_one_data_set_need_maps_of_one_size",
        "trial/cases/test_bundle.py::test_it_refuses_a_map_that_holds_minus_128",
    ),
    "M15": f"{ENROLMENT}::test_what_readers_could_tell_apart_is_read_from_the_record",
    "M16": PROCEDURE,
    # Reading conditions
    "M17": (
        f"{FLOW}::test_practice_is_counted_apart_and_told_what_it_chose",
        "trial/exports/test_exports.py::test_practice_and_voided_runs_are_not_in_it",
    ),
    "M18": PROCEDURE,
    "M19": "browser::test_the_next_case_begins_with_the_studys_own_settings",
    "M20": (
        f"{FLOW}::test_a_break_is_offered_after_half_an_hour_or_forty_cases",
        "trial/exports/test_exports.py::"
        "test_every_presentation_is_a_row_with_what_was_recorded",
    ),
    # Records
    "M21": (
        f"{ANSWERS}::test_a_change_names_the_answer_that_it_replaces",
        f"{ENROLMENT}::test_voiding_keeps_a_run_and_opens_a_new_one",
    ),
    "M22": (
        "test_triggers.py::test_raw_sql_is_refused",
        "test_triggers.py::test_querysets_and_rows_are_refused",
        "test_admin.py::test_nothing_that_a_rating_rests_on_is_there_to_be_edited",
    ),
    "M23": (
        "trial/test_verification.py::test_a_changed_column_of_a_rating_is_found",
        "trial/exports/test_ledger_table.py::"
        "test_a_verifier_of_twenty_lines_finds_the_heads",
    ),
    "M24": (
        f"{STUDY}::test_it_goes_one_way",
        f"{STUDY}::test_it_neither_enrols_nor_withdraws_later",
    ),
    "M25": (
        f"{ENROLMENT}::test_it_refuses_to_sign_off_with",
        f"{FLOW}::test_a_rating_is_taken_although_the_display_was_not_checked",
        "web/test_login.py::test_an_ended_session_sends_the_whole_page_to_the_login",
    ),
    "M26": (
        "trial/cases/test_files.py::"
        "test_it_names_the_files_that_are_missing_or_changed",
        "trial/test_verification.py::test_a_changed_column_of_a_rating_is_found",
    ),
    "M27": "test_export_study.py::test_the_drill",
    # Analysis
    "M28": "analysis/statistics/test_rank_tests.py::test_friedman_agrees_with_r",
    "M29": (
        "analysis/test_units.py::"
        "test_the_primary_test_of_a_data_set_is_pooled_as_was_fixed_beforehand",
        "analysis/test_units.py::"
        "test_blocks_come_on_request_and_are_known_not_to_be_independent",
    ),
    "M30": "analysis/statistics/test_exact_tests.py::*",
    "M31": (
        "analysis/statistics/test_rank_tests.py::test_wilcoxon_agrees_with_r",
        "analysis/statistics/test_rank_tests.py::test_holm_agrees_with_r",
    ),
    "M32": (
        "analysis/tables/test_agreement.py::test_kappas_of_the_pairs_make_the_summary",
        "analysis/tables/test_intra_reader.py::"
        "test_each_repeat_is_compared_with_the_first_rating",
    ),
    "M33": (
        "analysis/tables/test_periods.py::"
        "test_a_drift_of_one_variant_is_found_as_an_interaction",
        "analysis/tables/test_periods.py::"
        "test_what_was_seen_first_of_a_case_is_one_map_per_reader_and_case",
    ),
    "M34": (
        "trial/exports/test_exports.py::test_it_has_the_columns_of_the_contract",
        "trial/exports/test_tables.py::"
        "test_imrmc_has_the_ratings_of_first_presentations",
        "trial/exports/test_tables.py::test_imrmc_refuses_to_make_one_case_of_two",
    ),
    # Leaks: addresses, headers, bytes
    "L1": CANARIES,
    "L2": "web/test_pixels.py::test_a_buffer_comes_without_name_date_or_fingerprint",
    "L3": "web/test_pixels.py::test_a_buffer_comes_without_name_date_or_fingerprint",
    "L4": "web/test_pixels.py::test_a_buffer_comes_without_name_date_or_fingerprint",
    "L5": (
        COUNTED,
        "trial/cases/test_files.py::test_all_overlay_buffers_have_one_length",
    ),
    "L6": "web/test_pixels.py::test_the_overlay_is_its_values_row_by_row",
    "L7": (
        "trial/cases/test_files.py::"
        "test_names_of_copies_tell_nothing_and_are_drawn_anew"
    ),
    "L8": "web/test_pixels.py::test_the_image_is_its_pixels_row_by_row",
    "L9": "trial/cases/test_bundle.py::test_it_refuses_a_map_of_another_size",
    "L10": "trial/cases/test_bundle.py::test_it_refuses_a_map_that_holds_minus_128",
    "L11": PROCEDURE,
    "L12": (COUNTED, f"{STUDY}::test_opening_writes_every_readers_list_once"),
    "L13": (
        "trial/exports/test_exports.py::"
        "test_a_blinded_table_depends_on_the_letters_alone"
    ),
    "L14": (CANARIES, ONE_PAGE),
    "L15": (CANARIES, "web/test_static.py::test_no_static_file_names_a_variant"),
    "L16": (
        f"{FLOW}::test_the_next_pixels_are_named_by_token_alone",
        TWINS,
    ),
    "L17": "test_permissions.py::test_everybody_gets_what_the_tables_say",
    "L18": (
        "web/test_errors.py::test_a_broken_server_tells_no_details",
        "web/test_read.py::test_unknown_foreign_and_closed_are_one_and_the_same_404",
    ),
    "L19": "web/test_read.py::test_unknown_foreign_and_closed_are_one_and_the_same_404",
    "L20": (
        "test_admin.py::test_an_enrolled_reader_is_refused_everywhere_and_told_why",
        "test_admin.py::test_no_page_names_an_arm_or_a_run_before_unblinding",
        "test_admin.py::test_no_list_can_be_asked_for_more_than_it_shows",
    ),
    "L21": (TWINS, CANARIES),
    "L22": TWINS,
    "L23": (
        "web/test_read.py::test_nothing_of_the_page_is_kept_by_the_browser",
        "web/test_read.py::"
        "test_another_rating_for_a_rated_case_conflicts_and_shows_the_current_one",
    ),
    "L24": COUNTED,
    "L25": ONE_PAGE,
    "L26": (COUNTED, f"{DESIGN}::test_a_place_tells_neither_the_case_nor_the_arm"),
    "L27": ONE_PAGE,
    "L28": (
        ONE_PAGE,
        f"{ANSWERS}::test_practice_comes_first_and_repeats_in_the_last_round",
    ),
    "L29": "browser::test_the_next_case_begins_with_the_studys_own_settings",
    "L30": ONE_PAGE,
    "L31": ONE_PAGE,
    "L32": (CANARIES, "web/test_static.py::test_the_application_sends_no_mail"),
    "L33": "web/test_static.py::test_a_page_may_speak_to_its_own_server_alone",
    "L34": "web/test_static.py::test_no_static_file_names_a_variant",
    "L35": "web/test_static.py::test_no_folder_can_be_listed_and_no_stimulus_is_static",
    "L36": "web/test_pixels.py::test_a_buffer_can_only_be_got",
    "L37": "test_admin_records.py::test_tables_are_fetched_as_the_state_allows",
    "L38": (
        "trial/test_policies.py::test_it_asks_role_and_state_and_nothing_else",
        "test_permissions.py::test_everybody_gets_what_the_tables_say",
    ),
    "L39": (
        f"{STUDY}::test_every_reader_has_an_order_that_can_be_made_again",
        f"{STUDY}::test_opening_conceals_the_arms_behind_letters_drawn_anew",
    ),
    "L40": PROCEDURE,
    "L41": PROCEDURE,
    "L42": ONE_PAGE,
}


def named(answer: str | tuple[str, ...]) -> tuple[str, ...]:
    return (answer,) if isinstance(answer, str) else answer


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the test functions in a file, or in a folder of them."""
    base = ROOT / "tests"
    where = base / path if path == "browser" else base / "readerstudy" / path
    files = where.rglob("test_*.py") if where.is_dir() else [where]
    trees = [ast.parse(file.read_text()) for file in files]
    return frozenset(
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_every_requirement_and_every_leak_has_its_row():
    wanted = [f"M{n}" for n in range(1, 35)] + [f"L{n}" for n in range(1, 43)]
    assert list(MET_BY) == wanted


def test_what_is_left_to_procedure_is_what_cannot_be_tested():
    left = {key for key, answer in MET_BY.items() if answer == PROCEDURE}
    assert left == MET_BY_PROCEDURE


@pytest.mark.parametrize("key", sorted(set(MET_BY) - MET_BY_PROCEDURE))
def test_every_test_that_is_named_is_there(key):
    for node in named(MET_BY[key]):
        path, _, name = node.partition("::")
        there = names_in(path)
        assert there if name == "*" else name in there, node
