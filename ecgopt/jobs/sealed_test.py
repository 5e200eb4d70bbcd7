"""The sealed test of a downstream part: opened once per winner, on the record, scored once."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from ecgopt.data.sealed import sealed_rows
from ecgopt.data.splits import EcgDataset, dataset
from ecgopt.database.engine import Database
from ecgopt.database.tables import sealed_opening, sealed_result
from ecgopt.jobs.datasets import PreparedData
from ecgopt.queue.items import Claim, assert_owned
from ecgopt.seeds import seed_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The test records, and the row that says who took them."""

    records: EcgDataset
    opening_id: int


@dataclass(frozen=True, slots=True)
class SealedTest:
    """The held-out patients, and the results that were read from them.

    Every write is fenced: only the owner of the final fit's work item can open, store or reuse.
    """

    database: Database
    data: PreparedData

    def open(self, downstream: str, claim: Claim) -> Opened:
        """Record the opening for this final fit, then return the test records.

        Raises:
            LeaseLost: another worker owns the final fit.
        """
        with self.database.transaction() as connection:
            assert_owned(connection, claim)
            inserted = connection.execute(insert(sealed_opening).values(self._row(claim, reused=0)))
            assert inserted.inserted_primary_key is not None
            (opening_id,) = inserted.inserted_primary_key
        section, prepared = self.data.spec.data[downstream], self.data.prepared(downstream)
        rows = sealed_rows(
            prepared,
            self.data.rows(downstream),
            test_folds=section.test_folds,
            test_share=section.test_share,
            seed=seed_for(self.data.spec.seed, "test", downstream),
        )
        return Opened(
            records=dataset(prepared, rows, self.data.labels(downstream)), opening_id=opening_id
        )

    def store(self, claim: Claim, winner: str, opened: Opened, result: Mapping[str, Any]) -> None:
        """Keep what was read from an opening, so that it need not be read again; repeatable.

        Args:
            claim: Of the final fit.
            winner: Hash of what was trained, see `winner_hash`.
            opened: The opening that the result comes from.
            result: As the work item will hold it.

        Raises:
            LeaseLost: another worker owns the final fit.
        """
        with self.database.transaction() as connection:
            assert_owned(connection, claim)
            if connection.execute(self._query(claim, winner)).first() is not None:
                return
            connection.execute(
                insert(sealed_result).values(
                    comparison=claim.comparison,
                    item_key=claim.key,
                    winner=winner,
                    opening_id=opened.opening_id,
                    result=json.dumps(result),
                    stored_at=self.database.now,
                )
            )

    def reuse(self, claim: Claim, winner: str) -> dict[str, Any] | None:
        """Return the result stored for this winner, with a row in the log; None if there is none.

        Raises:
            LeaseLost: another worker owns the final fit.
        """
        with self.database.transaction() as connection:
            assert_owned(connection, claim)
            row = connection.execute(self._query(claim, winner)).first()
            if row is None:
                return None
            connection.execute(insert(sealed_opening).values(self._row(claim, reused=1)))
        found: dict[str, Any] = json.loads(row.result)
        return found

    def _query(self, claim: Claim, winner: str) -> Any:  # noqa: ANN401 - a SELECT of one column
        return select(sealed_result.c.result).where(
            sealed_result.c.comparison == claim.comparison,
            sealed_result.c.item_key == claim.key,
            sealed_result.c.winner == winner,
        )

    def _row(self, claim: Claim, *, reused: int) -> dict[str, Any]:
        return {
            "comparison": claim.comparison,
            "item_key": claim.key,
            "worker": claim.owner,
            "opened_at": self.database.now,
            "reused": reused,
        }


def winner_hash(**identity: object) -> str:
    """Return a hash of all that determines a final fit: study, role, recipe, parameters, seed."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
