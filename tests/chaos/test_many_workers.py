"""Many workers, killed and frozen at random: every slot is spent exactly once."""

import os
import random
import signal

import pytest
from freezing import freeze

pytestmark = pytest.mark.chaos

N_WORKERS = 16
N_SLOTS = 200
N_KILLS = 25
N_FREEZES = 5
LEASE_SECONDS = 8
SEED = 20240


class Freezer:
    """Stops workers that hold a trial, until another has taken it over."""

    def __init__(self, crowd):
        self.crowd = crowd
        self.frozen = []
        self.n_zombies = 0

    def freeze(self):
        member, item = self.crowd.wait_until(self._awake_holder)
        freeze(member.pid, self.crowd.database)
        self.frozen.append((member, item))

    def thaw(self):
        """Let those go on whose trial belongs to another by now; return how many are left."""
        for member, item in list(self.frozen):
            is_zombie = self.crowd.fence(item.id) > item.fence
            # It may have finished between the look and the signal: nothing is taken over then.
            if is_zombie or self.crowd.holder_of(item.id) != item.owner:
                os.kill(member.pid, signal.SIGCONT)
                self.frozen.remove((member, item))
                self.n_zombies += is_zombie
        return len(self.frozen)

    @property
    def members(self):
        return [member for member, _ in self.frozen]

    def _awake_holder(self):
        found = self.crowd.holder()
        return found if found and found[0] not in self.members else None


@pytest.mark.parametrize("back_end", ["sqlite", "postgresql", "mariadb"])
def test_kills_and_freezes_cost_no_slot_and_double_none(back_end, request, crowd, assert_exact):
    # MariaDB has to prove the same with a fifth of it: its server is the slowest.
    share = 5 if back_end == "mariadb" else 1
    url, n_slots = request.getfixturevalue(f"{back_end}_url"), N_SLOTS // share
    spec, workers = crowd(
        url,
        trials=n_slots // 2,
        lease=LEASE_SECONDS,
        epochs_high=4,
        options={"epoch_seconds": 0.1, "max_failures": 1000},
    )
    draw = random.Random(SEED)
    n_events = (N_KILLS + N_FREEZES) // share
    moments = sorted(draw.sample(range(2, n_slots - 30 // share), n_events))
    freezes = set(draw.sample(range(n_events), N_FREEZES // share))
    freezer = Freezer(workers)
    with workers:
        workers.add(N_WORKERS // (2 if share > 1 else 1))
        for number, moment in enumerate(moments):
            workers.wait_until(
                lambda moment=moment: (freezer.thaw(), workers.n_done() >= moment)[1]
            )
            if number in freezes:
                freezer.freeze()
            else:
                awake = [m for m in workers.members if m.is_alive() and m not in freezer.members]
                workers.kill(draw.choice(awake))
        workers.wait_until(lambda: freezer.thaw() == 0)
        workers.finish()
        assert workers.n_done() == n_slots
        assert_exact(spec, url)
        assert workers.logs().count("given up") >= freezer.n_zombies
    assert freezer.n_zombies > 0
