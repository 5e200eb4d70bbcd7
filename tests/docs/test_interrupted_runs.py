"""Every row of the page on interrupted runs is a test."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "interrupted-runs.md"

TESTS = {
    "Ctrl-C, or SIGTERM (Slurm, a spot machine)": "chaos/test_signals.py::"
    "test_sigterm_lets_a_host_save_its_epochs_give_everything_back_and_leave_with_0",
    "`kill -9`, out of memory, power cut": "chaos/test_adopted_trials.py::"
    "test_kills_in_mid_training_change_no_winner_no_value_and_no_prediction",
    "the database restarts or drops its connections": "chaos/test_server_faults.py::"
    "test_dropped_connections_and_a_restart_cost_no_trial",
    "the database does not answer for a while": "chaos/test_server_faults.py::"
    "test_a_server_that_stands_still_for_20_s_costs_no_trial",
    "the database has no connection left": "chaos/test_server_faults.py::"
    "test_a_worker_waits_for_a_free_connection",
    "a worker hung": "chaos/test_supervisor.py::"
    "test_a_crashed_and_a_hung_worker_are_replaced_and_the_cause_is_kept",
    "the disk is full": "chaos/test_server_faults.py::"
    "test_a_full_disk_costs_checkpoints_but_no_trial",
    "an item kills its worker three times without progress": "chaos/test_supervisor.py::"
    "test_an_item_that_kills_three_workers_is_set_aside_and_the_study_goes_on",
    "files are away for a moment": "chaos/test_machine_faults.py::"
    "test_weights_that_are_away_for_seconds_cost_no_trial",
    "files stay away": "chaos/test_machine_faults.py::"
    "test_weights_that_stay_away_end_the_run_with_the_reason_and_a_retry_ends_equal",
    "a pre-trained checkpoint is gone for good": "integration/test_lost_checkpoint.py::"
    "test_a_checkpoint_that_is_lost_is_made_again_with_the_same_hash",
    "pre-trained weights were replaced": "chaos/test_machine_faults.py::"
    "test_weights_that_were_replaced_are_not_used",
    "a pre-training failed": "chaos/test_machine_faults.py::"
    "test_a_pre_training_that_failed_blocks_what_needs_it_and_the_run_says_so",
    "three different items fail with one worker, one after another": "unit/jobs/test_worker.py::"
    "test_a_worker_whose_items_fail_one_after_another_stops_and_says_why",
    "a GPU is lost (a sticky CUDA error)": "unit/jobs/test_worker.py::"
    "test_a_device_that_is_lost_stops_its_worker_at_the_first_error",
    "eight errors in a row, by any workers, and no item done": "contract/test_work_items.py::"
    "test_a_comparison_where_everything_fails_pauses_itself_within_ten_errors",
    "a worker lives, but renews its lease too late": "contract/test_work_items.py::"
    "test_a_worker_that_renews_too_late_and_lives_costs_its_item_no_failure",
    "an SQLite file is replaced or removed while workers use it": "chaos/test_connections.py::"
    "test_an_sqlite_file_that_is_replaced_under_an_open_database_is_noticed",
    "someone adds trials to a study with plain Optuna": "integration/test_steering.py::"
    "test_trials_that_others_add_take_no_slot_and_count_nowhere",
    "a worker has another workspace": "chaos/test_machine_faults.py::"
    "test_another_workspace_is_refused_and_a_copy_may_join_unless_its_weights_differ",
    "the study file changed": "integration/test_user_mistakes.py::"
    "test_a_changed_space_is_refused_after_the_study_began",
}
"""The test of each row of the first table, by the row's first cell."""


def first_table():
    rows = [line for line in PAGE.read_text().split("\n\n")[2].splitlines() if line]
    return [row.strip("|").split(" | ")[0].strip() for row in rows[2:]]


def test_every_row_of_the_table_is_a_test():
    assert first_table() == list(TESTS)
    for place in TESTS.values():
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
