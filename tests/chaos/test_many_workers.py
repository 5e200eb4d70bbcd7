"""Many workers, killed and frozen at random: every slot is spent exactly once."""

import os
import random
import signal

import pytest

pytestmark = pytest.mark.chaos

N_WORKERS = 16
N_SLOTS = 200
N_KILLS = 25
N_FREEZES = 5
LEASE_SECONDS = 8
SEED = 20240


def freeze_beyond_the_lease(crowd):
    """Stop a worker that holds a trial until another has taken it over, then let it go on."""
    member, item = crowd.wait_until(crowd.holder)
    os.kill(member.pid, signal.SIGSTOP)
    try:
        # It may have finished between the look and the signal; then nothing is taken over.
        crowd.wait_until(
            lambda: crowd.fence(item.id) > item.fence or not _is_held(crowd, item), seconds=120
        )
        return crowd.fence(item.id) > item.fence
    finally:
        os.kill(member.pid, signal.SIGCONT)


def _is_held(crowd, item):
    found = crowd.holder_of(item.id)
    return found == item.owner


@pytest.mark.parametrize("back_end", ["sqlite", "postgresql", "mariadb"])
def test_kills_and_freezes_cost_no_slot_and_double_none(back_end, request, crowd, assert_exact):
    # MariaDB proves the same with fewer: its server is the slowest to start.
    scale = 5 if back_end == "mariadb" else 1
    url = request.getfixturevalue(f"{back_end}_url")
    n_slots = N_SLOTS // scale
    spec, workers = crowd(
        url,
        trials=n_slots // 2,
        lease=LEASE_SECONDS,
        epochs_high=4,
        options={"epoch_seconds": 0.1, "max_losses": 1000},
    )
    draw = random.Random(SEED)
    moments = sorted(draw.sample(range(3, n_slots - 20 // scale), (N_KILLS + N_FREEZES) // scale))
    freezes = set(draw.sample(range(len(moments)), N_FREEZES // scale))
    n_zombies = 0
    with workers:
        workers.add(N_WORKERS // (2 if scale > 1 else 1))
        for number, moment in enumerate(moments):
            workers.wait_until(lambda moment=moment: workers.n_done() >= moment)
            if number in freezes:
                n_zombies += freeze_beyond_the_lease(workers)
            else:
                workers.kill(draw.choice([m for m in workers.members if m.is_alive()]))
        workers.finish()
        assert workers.n_done() == n_slots
        assert_exact(spec, url)
        assert workers.logs().count("given up") >= n_zombies
    assert n_zombies > 0
