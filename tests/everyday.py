"""How much of the larger tests `pytest` alone tries, so that it ends within five minutes on two cores. CI tries all of it.

For each test of many or slow cases: how many of them, evenly spread, or which ones, by what their ids hold. The other cases
are marked `slow`.
"""

from __future__ import annotations

from collections.abc import Sequence

EVERYDAY: dict[str, int | tuple[str, ...]] = {
    "runners/test_runners.py::test_our_pool_starts_workers_and_ends_them": 0,
    "runners/test_runners.py::test_workers_without_the_package": 0,
    "runners/test_workers.py::test_two_processes_of_the_command_line_deliver_the_same": 0,
    "runners/test_jobs.py::test_drain_asks_again_while_tasks_of_a_job_begin_or_end": 2,
    "runners/test_chains.py::test_manifests_that_somebody_touched_end_the_export": 2,
    "runners/test_registering.py::test_a_process_that_is_killed_leaves_nothing_out_and_adds_nothing_twice": 0,
    "faults/test_resume.py::test_committed_ranges_are_not_read_again": 1,
    "faults/test_resume.py::test_the_random_reader_makes_what_the_killed_run_would_have_made": 0,
    "faults/test_resume.py::test_a_run_without_resume_begins_again": 0,
    "faults/test_resume.py::test_changed_input_is_not_resumed_and_told_what_changed": 0,
    "faults/test_resume.py::test_another_config_is_not_resumed_and_told_what_changed": 0,
    "faults/test_bad_books.py::test_what_no_run_wrote_is_left_alone_and_named": 2,
    "faults/test_chains_killed.py::test_a_growing_folder_and_runs_that_are_killed": 0,
    "matrix/test_matrix.py::test_same_rows_on_every_runner_once": 0,
    "components/test_secrets.py::test_the_command_line_with_debug": 0,
    "components/test_secret_services.py::test_worker_processes_read_them_and_nobody_else_sees_them": 0,
    "cli/test_cli.py::test_a_failed_export_says_one_sentence_and_leaves_nothing": 0,
    "cli/test_cli.py::test_init_with_other_components": 0,
    "cli/test_cli.py::test_init_writes_a_config_that_validates_and_runs": 0,
    "compressions/test_archives.py::test_the_same_on_several_workers_and_without_pushdown": 1,
    "transforms/test_dupe.py::test_where_records_wait_makes_no_difference_and_nothing_is_left": 1,
    "readers/test_changing_inputs.py::test_an_export_of_a_file_that_changes_fails_and_delivers_nothing": 1,
    "engine/test_deltas.py::test_two_workers_and_what_was_broken_off_give_the_same_bytes": 0,
    "engine/test_statistics.py::test_a_run_that_was_killed_and_resumed_tells_the_same": 0,
    "engine/test_windows.py::test_windows_are_the_same_however_the_work_is_done": 0,
    "engine/test_fused_lines.py::test_at_every_border_of_chunks_and_ranges": 1,
    "config/test_parameters.py::test_main_is_thin_and_starts_what_the_command_line_does": 0,
    "planning/test_migrate_documented.py::test_old_and_migrated_deliver_the_same": 4,
    "faults/test_suite.py::test_nothing_is_lost_and_nothing_is_there_twice": ("read-only",),
    "faults/test_resume.py::test_killed_at_a_commit_and_resumed": 0,
    "faults/test_resume_compares.py::test_changed_input_is_refused_and_named": 3,
    "faults/test_bad_books.py::test_a_segment_that_is_cut_short_or_of_another_version_is_ours_and_counts_for_nothing": 1,
    "faults/test_bad_books.py::test_a_file_in_the_place_of_a_folder": 2,
    "faults/test_bad_books.py::test_a_folder_in_the_place_of_a_file": 1,
    "faults/test_worker_killed.py::test_a_killed_worker_fails_the_run_soon_and_it_is_finished_afterwards": 0,
    "faults/test_worker_killed.py::test_no_worker_outlives_its_launcher": 1,
    "faults/test_worker_killed.py::test_a_program_goes_on_after_a_worker_was_killed": 0,
    "faults/test_interrupted.py::test_while_records_are_processed": 1,
    "faults/test_limits_of_the_system.py::test_a_limit_of_the_size_of_files_names_the_folder": 0,
    "formats/test_parquet_limits.py::test_memory_stays_bounded": 0,
    "formats/test_avro_limits.py::test_blocks_that_unpack_to_a_thousand_times_as_much": 1,
    "formats/test_typed_files.py::test_files_that_differ_have_what_holds_both": 4,
    "formats/test_typed_files.py::test_a_changed_column_has_the_type_of_its_values": 4,
    "formats/test_parquet_statistics.py::test_row_groups_are_skipped_where_nothing_would_be_kept": 1,
    "readers/test_changing_inputs.py::test_no_range_ends_in_which_a_file_has_changed": 20,
    "readers/test_own_output.py::test_where_the_reader_does_not_find_it_a_rerun_is_right": 3,
    "storages/test_http_reader.py::test_a_file_that_changes_while_it_is_read_ends_the_export": 2,
    "transforms/test_expression_budget.py::test_hostile_expressions_end_soon_within_the_memory": 1,
    "transforms/test_expression_budget.py::test_composed_expressions_end_too": 0,
    "transforms/test_expressions.py::test_greedy_expressions_end_soon_with_an_error_of_the_record": 40,
    "transforms/test_python2.py::test_limits_hold_for_what_stands_for_python_2": (
        "map(str",
        "hex",
        "unicode_escape",
        "set",
    ),
    "transforms/test_sightings.py::test_what_no_record_has_is_told": 4,
    "matrix/test_matrix.py::test_same_files_on_every_runner": ("two worker processes-plain",),
    "engine/test_again.py::test_what_was_staged_before_the_runner_began_again_is_taken_in": 1,
    "engine/test_on_error.py::test_dead_letters_have_the_same_bytes_however_the_work_is_bundled": 0,
    "transforms/test_patterns_end.py::test_a_filter_whose_expression_backtracks_fails_the_record": 1,
    "writers/test_batches.py::test_killed_and_resumed": 1,
    "writers/test_batches.py::test_letters_name_the_record_whatever_was_left_out_before_it": 4,
    "writers/test_writers.py::test_every_file_is_whole_in_its_format_wherever_it_is_cut": 4,
    "engine/test_columnar_exports.py::test_the_same_with_and_without": 5,
    "engine/test_columnar_exports.py::test_faults_are_the_same_with_and_without": 3,
    "test_decimals.py::test_a_filter_on_parquet_keeps_what_it_names": 3,
    "engine/test_fused_lines.py::test_exports_with_and_without_pushdown": 3,
    "engine/test_graph.py::test_the_same_bytes_however_the_work_is_bundled": ("plain",),
    "engine/test_graph.py::test_two_worker_processes_deliver_the_same": 0,
    "formats/test_typed_files.py::test_which_records_fail_depends_on_their_order_alone": 1,
    "test_oracle.py::test_case": 15,
    "planning/test_migrate.py::test_old_and_migrated_deliver_the_same": 4,
    "planning/test_pushdown.py::test_exports_that_add_fields_are_the_same_with_and_without": 2,
    "planning/test_pushdown.py::test_hostile_lines_alone_and_among_good_ones": 3,
    "planning/test_pushdown.py::test_hostile_lines_that_fields_are_added_to": 3,
    "planning/test_pushdown.py::test_lines_of_a_chunk_together_make_the_blocks_that_records_make": 3,
    "components/test_secrets.py::test_secrets_of_readers_stand_nowhere_and_the_records_arrive": 2,
    "config/test_shared_config.py::test_what_writes_a_date_keeps_records_with_dates_and_with_texts": 4,
}


SAMPLED: dict[str, int] = {
    "faults/test_suite.py::test_nothing_is_lost_and_nothing_is_there_twice": 7,
    "transforms/test_expression_budget.py::test_composed_expressions_end_too": 0,
    "components/test_secrets.py::test_secrets_of_readers_stand_nowhere_and_the_records_arrive": 3,
    "planning/test_migrate.py::test_old_and_migrated_deliver_the_same": 25,
    "test_oracle.py::test_case": 40,
    "transforms/test_expressions.py::test_greedy_expressions_end_soon_with_an_error_of_the_record": 15,
    "readers/test_changing_inputs.py::test_no_range_ends_in_which_a_file_has_changed": 12,
    "planning/test_pushdown.py::test_exports_that_add_fields_are_the_same_with_and_without": 10,
    "transforms/test_python2.py::test_limits_hold_for_what_stands_for_python_2": 8,
    "formats/test_typed_files.py::test_files_that_differ_have_what_holds_both": 8,
    "planning/test_pushdown.py::test_hostile_lines_that_fields_are_added_to": 8,
    "planning/test_pushdown.py::test_hostile_lines_alone_and_among_good_ones": 8,
    "planning/test_migrate_documented.py::test_old_and_migrated_deliver_the_same": 6,
    "test_decimals.py::test_a_filter_on_parquet_keeps_what_it_names": 5,
    "engine/test_columnar_exports.py::test_the_same_with_and_without": 6,
    "transforms/test_sightings.py::test_what_no_record_has_is_told": 4,
    "engine/test_fused_lines.py::test_exports_with_and_without_pushdown": 5,
    "faults/test_resume_compares.py::test_changed_input_is_refused_and_named": 5,
    "faults/test_bad_books.py::test_a_file_in_the_place_of_a_folder": 4,
    "config/test_shared_config.py::test_what_writes_a_date_keeps_records_with_dates_and_with_texts": 4,
    "engine/test_columnar_exports.py::test_faults_are_the_same_with_and_without": 4,
    "writers/test_batches.py::test_letters_name_the_record_whatever_was_left_out_before_it": 3,
    "storages/test_http_reader.py::test_a_file_that_changes_while_it_is_read_ends_the_export": 4,
    "formats/test_typed_files.py::test_a_changed_column_has_the_type_of_its_values": 4,
    "engine/test_graph.py::test_the_same_bytes_however_the_work_is_bundled": 4,
}
"""Of those that are left for CI: how many it tries, evenly spread, so that it ends within the hour. The others are marked
`exhaustive`: `make exhaustive` tries them."""


def left_for_ci(ids: Sequence[str], everyday: int | tuple[str, ...]) -> set[str]:
    """Which cases of a test are slow.

    >>> sorted(left_for_ci(["a", "b", "c", "d"], 2)), left_for_ci(["a", "b"], ("b",))
    (['b', 'd'], {'a'})
    """
    if isinstance(everyday, tuple):
        return {case for case in ids if not any(part in case for part in everyday)}
    return {case for n, case in enumerate(ids) if n * everyday // len(ids) == (n - 1) * everyday // len(ids)}
