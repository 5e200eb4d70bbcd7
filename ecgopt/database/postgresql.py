"""PostgreSQL connections that keep this side's deadlines.

They have their own module because psycopg is slow to import.
"""

from typing import TYPE_CHECKING

import psycopg

from ecgopt.database.timeouts import allowed_seconds

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen


class PatientConnection(psycopg.Connection[tuple[object, ...]]):
    """A PostgreSQL connection that closes itself when an answer takes too long.

    The server undoes the open transaction when it wakes up and finds the connection closed.
    """

    def wait(self, gen: "PQGen[RV]", interval: float = 0.1, timeout: float | None = None) -> "RV":
        """Run the generator to its end, as psycopg does, but not beyond the deadline.

        Raises:
            psycopg.OperationalError: the answer did not come in time; the connection is closed.
        """
        allowed = allowed_seconds(timeout)
        try:
            return super().wait(gen, interval=interval, timeout=allowed)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"no answer from the database within {allowed:.1f} s"
            ) from None
