"""A pre-trained checkpoint that is gone for good is made again, or the study stops."""

import pytest
from sqlalchemy import select, update
from work_bench import Bench

from ecgopt.database.tables import work_item
from ecgopt.jobs.worker import Worker, WorkerSettings
from ecgopt.queue.items import open_items
from ecgopt.queue.results import retries_of

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

PRETRAINING = "pretrain/up-resnet1d18-w2"


@pytest.fixture
def bench(study_file, tmp_path):
    made = Bench(
        study_file(sampler="random", pruning="false", trials=1, epochs_high=2, published_epochs=2),
        tmp_path / "ws",
    )
    made.first("worker", "fine_tune", "trial/")
    made.lose("worker")
    yield made
    made.database.engine.dispose()


def checkpoint(bench):
    (path,) = bench.place.root.glob("pretrained/**/*.safetensors")
    return path


def work(bench):
    settings = WorkerSettings(comparison=bench.spec.name, retry_seconds=0.01, poll_seconds=0.01)
    Worker(database=bench.database, jobs=bench.jobs, settings=settings).work()


def states(bench):
    with bench.database.transaction() as connection:
        rows = connection.execute(select(work_item).order_by(work_item.c.id)).all()
    return {row.key: row for row in rows}


def test_a_checkpoint_that_is_lost_is_made_again_with_the_same_hash(bench):
    path = checkpoint(bench)
    content = path.read_bytes()
    path.unlink()
    work(bench)
    assert path.read_bytes() == content
    assert {row.state for row in states(bench).values()} == {"done"}
    assert retries_of(bench.database, bench.spec.name) == {PRETRAINING: "done"}


def test_a_checkpoint_that_comes_out_otherwise_stops_what_needs_it(bench):
    path = checkpoint(bench)
    path.unlink()
    result = states(bench)[PRETRAINING].result
    other = result.replace('"sha256": "', '"sha256": "0')
    assert other != result
    with bench.database.transaction() as connection:
        connection.execute(
            update(work_item).where(work_item.c.key == PRETRAINING).values(result=other)
        )
    work(bench)
    ended = states(bench)[PRETRAINING]
    assert (ended.state, ended.cause) == ("set_aside", "error")
    assert "restore the file from a copy" in ended.detail
    assert not path.exists()
    assert open_items(bench.database, bench.spec.name).n_blocked > 0
    assert {row.state for key, row in states(bench).items() if "scratch" in key} == {"done"}
