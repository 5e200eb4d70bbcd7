"""The records of the sealed test: what is left of a data set beside the pool.

Only `ecgopt.analysis` imports this module; import-linter refuses it to the packages below.
"""

from collections.abc import Sequence

import numpy as np

from ecgopt.data.prepared import PreparedSet
from ecgopt.data.splits import Rows, pool_rows


def sealed_rows(
    prepared: PreparedSet,
    rows: Rows,
    *,
    test_folds: Sequence[int] | None,
    test_share: float | None,
    seed: int,
) -> Rows:
    """Return those of `rows` that are sealed, in their order; arguments as those of `pool_rows`.

    Raises:
        DataError: as `pool_rows`.
    """
    pool = pool_rows(prepared, rows, test_folds=test_folds, test_share=test_share, seed=seed)
    return rows[~np.isin(rows, pool)]
