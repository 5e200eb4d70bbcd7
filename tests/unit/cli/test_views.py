"""What `ecgopt status` prints of workers, leases, failures and items set aside."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ecgopt.causes import Cause
from ecgopt.cli.views import Activity, duration, next_step, plain_line, rendered, short_names
from ecgopt.comparison.progress import Progress, StageProgress, StudyProgress
from ecgopt.queue.heartbeats import WorkerSeen
from ecgopt.queue.inspect import FailureSeen, LeaseSeen, PausedSeen, QueueSeen, SetAside

FOLDER = "clinic/resnet1d18-w8/n160/r0"


def study(regime):
    return StudyProgress(
        study=f"{FOLDER}/{regime}",
        regime=regime,
        complete=1,
        pruned=2,
        failed=0,
        running=1,
        paused=0,
        left=8,
        best=0.75,
    )


PROGRESS = Progress(
    stages=(
        StageProgress(
            kind="trial", title="trials", total=24, done=6, running=1, set_aside=1, mean_seconds=2.0
        ),
    ),
    studies=(study("scratch"), study("fine_tune")),
    total_losses=7,
    n_workers=2,
    seconds_running=60.0,
)
ITEM = f"trial/{FOLDER}/scratch/0003"


def failure(number):
    cause = f"Traceback (most recent call last):\n  ...\nRuntimeError: number {number}"
    return FailureSeen(item=ITEM, owner="vm:1", cause=cause, seconds_ago=5.0 + number)


ACTIVITY = Activity(
    workers=[
        WorkerSeen(
            owner="vm:1",
            host="vm",
            pid=7,
            device="cpu",
            item=ITEM,
            epoch=4,
            seen_seconds_ago=2.0,
            state="stopping",
            reason="",
        )
    ],
    queue=QueueSeen(
        leases=[
            LeaseSeen(
                item=ITEM,
                owner="vm:1",
                epochs_done=4,
                seconds_held=12.0,
                seconds_left=-1.0,
                failures=7,
            )
        ],
        paused=[],
        failures=[failure(number) for number in range(7)],
        set_aside=[
            SetAside(item=ITEM, cause=Cause.OUT_OF_MEMORY, detail="3 workers\nwere too big")
        ],
    ),
)


def printed(activity=None):
    """Return the lines at a terminal of 80 columns."""
    console = Console(width=80, file=StringIO(), highlight=False)
    console.print(rendered(PROGRESS, activity))
    return console.file.getvalue().splitlines()


def starting(lines, start):
    return [line for line in lines if line.startswith(start)]


def test_names_of_studies_and_items_are_not_broken_at_80_columns():
    lines = printed(ACTIVITY)
    assert starting(lines, f"studies in {FOLDER}/")
    assert starting(lines, "scratch ")
    assert starting(lines, "trial/…/scratch/0003 ")


def printed_at(width, names, **options):
    progress = replace(PROGRESS, studies=tuple(replace(study("x"), study=n) for n in names))
    console = Console(width=width, file=StringIO(), highlight=False)
    console.print(rendered(progress, **options))
    return console.file.getvalue().splitlines()


LONG = [
    f"clinic_b/resnet1d18-w8/n180/r{replicate}/{arm}"
    for replicate in range(8)
    for arm in ("scratch", "fine_tune/from-clinic_a")
]


def test_names_are_whole_at_60_columns_and_lack_the_only_source():
    lines = printed_at(60, LONG[:10])
    assert starting(lines, "r0/fine_tune ")
    assert not [line for line in lines if "from-clinic_a" in line]


def test_two_sources_are_told_apart():
    names = ["a/n5/r0/fine_tune/from-x", "a/n5/r0/fine_tune/from-y"]
    assert short_names(names) == ["from-x", "from-y"]
    assert short_names([*names, "a/n5/r0/scratch"])[0] == "fine_tune/from-x"


def test_all_studies_are_shown_when_asked_for():
    few, every = printed_at(80, LONG), printed_at(80, LONG, show_all=True)
    assert starting(few, "... and 4 more studies: --all shows them")
    assert len(starting(every, "r")) == len(LONG)
    assert not starting(every, "...")


def test_running_studies_come_first_where_not_all_are_shown():
    idle = [replace(study("scratch"), study=name, running=0) for name in LONG[:-1]]
    busy = replace(study("scratch"), study=LONG[-1], running=1)
    progress = replace(PROGRESS, studies=(*idle, busy))
    console = Console(width=80, file=StringIO(), highlight=False)
    console.print(rendered(progress))
    first = next(line for line in console.file.getvalue().splitlines() if line.startswith("r"))
    assert first.startswith("r7/fine_tune")


def test_only_one_regime_is_shown_when_asked_for():
    console = Console(width=80, file=StringIO(), highlight=False)
    console.print(rendered(PROGRESS, regime="scratch"))
    lines = console.file.getvalue().splitlines()
    assert starting(lines, "scratch ")
    assert not starting(lines, "fine_tune ")


def test_a_pre_training_says_what_waits_for_it():
    stage = StageProgress(
        kind="pretrain", title="pre-training", total=1, done=0, running=1, set_aside=0,
        mean_seconds=None,
    )  # fmt: skip
    progress = replace(PROGRESS, stages=(stage, *PROGRESS.stages))
    assert "1. pre-training 0/1, 2. trials 6/24" in plain_line(progress)
    assert "wait for 1 pre-training" in plain_line(progress)
    assert "wait for" not in plain_line(PROGRESS)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5 s"), (600, "10 min"), (7200, "2 h"), (259_200, "3 days")],
)
def test_a_time_has_one_unit_that_fits(seconds, said):
    assert duration(seconds) == said


def test_a_worker_that_was_asked_to_stop_is_shown_as_stopping():
    assert starting(printed(ACTIVITY), "vm:1 (stopping)")


def test_a_lease_that_nobody_renewed_is_shown_as_ended():
    lease = next(line for line in printed(ACTIVITY) if " 12 s " in line)
    assert lease.split()[-2:] == ["ended", "7"]


def test_the_newest_failures_are_shown_with_the_error_itself_and_the_others_counted():
    lines = printed(ACTIVITY)
    shown = [line for line in lines if "RuntimeError" in line]
    assert [line.split("number ")[1].split()[0] for line in shown] == list("01234")
    assert starting(lines, "... and 2 earlier")


def test_an_item_set_aside_is_shown_with_its_cause():
    aside = next(line for line in printed(ACTIVITY) if "out_of_memory" in line)
    assert "were too big" in aside


def test_a_run_shows_its_progress_alone():
    assert not [line for line in printed() if "lease" in line or "lost" in line]


def test_the_time_left_is_shared_by_all_workers_also_while_one_is_between_two_items():
    assert "about 17 s left" in " ".join(printed())


def test_no_time_left_is_promised_while_nobody_works():
    assert replace(PROGRESS, n_workers=0).seconds_left is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2 workers are running"),
        ({"n_workers": 1}, "1 worker is running"),
        ({"n_workers": 0}, "no worker is running; to continue: ecgopt run study.toml"),
        ({"is_paused": True}, "paused; to start trials again: ecgopt study resume study.toml"),
        ({"stages": ()}, "finished; next: ecgopt report study.toml"),
        (
            {"stages": (replace(PROGRESS.stages[0], done=23),)},
            "finished, but 1 item failed; fix the cause, then: ecgopt study retry study.toml",
        ),
    ],
)
def test_the_next_step_names_the_command_that_continues(changes, said):
    assert next_step(replace(PROGRESS, **changes), Path("study.toml")) == said


def test_a_worker_that_stopped_by_its_own_errors_says_why():
    (worker,) = ACTIVITY.workers
    why = "3 items failed, one after another; the last with: CUDA error"
    activity = replace(ACTIVITY, workers=[replace(worker, state="failed", reason=why)])
    assert f"vm:1 stopped: {why}" in printed(activity)
    assert not [line for line in printed(ACTIVITY) if "stopped:" in line]


def test_trials_that_are_paused_at_a_rung_are_shown_with_what_they_wait_for():
    paused = [
        PausedSeen(item=f"trial/{FOLDER}/scratch/{slot:04d}", group="g", rung=3, n_behind=behind)
        for slot, behind in ((1, 2), (2, 0))
    ]
    progress = replace(PROGRESS, studies=(replace(study("scratch"), paused=2), study("fine_tune")))
    activity = replace(ACTIVITY, queue=replace(ACTIVITY.queue, paused=paused))
    console = Console(width=100, file=StringIO(), highlight=False)
    console.print(rendered(progress, activity))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["study", "done", "pruned", "running", "paused", "left", "best"] in lines
    assert ["scratch", "1", "2", "1", "2", "8", "0.750"] in lines
    assert ["trial/…/scratch/0001", "3", "2", "of", "its", "bracket"] in lines
    assert ["trial/…/scratch/0002", "3", "a", "free", "worker"] in lines
    assert "2 paused at a rung" in plain_line(progress)
    assert "paused" not in plain_line(PROGRESS)
