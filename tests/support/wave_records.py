"""Records whose labels can be learned in a second: slow waves in one lead, fast ones in another."""

import numpy as np

from ecgopt.data.splits import EcgDataset, TuningData


def wave_data(n_train=33, n_validation=45, seed=0):
    """Return records of label `slow` (a slow wave in lead 1) and `fast` (a fast one in lead 2)."""
    n_records = n_train + n_validation
    generator = np.random.default_rng(seed)
    labels = (generator.random((n_records, 2)) < 0.5).astype(np.float32)
    signals = generator.normal(0, 100, (n_records, 12, 1000))
    time = np.arange(1000)
    signals[:, 0] += labels[:, :1] * 500 * np.sin(time / 40)
    signals[:, 1] += labels[:, 1:] * 500 * np.sin(time / 5)
    signals = signals.astype(np.int16)
    order = generator.permutation(n_records)

    def part(rows):
        return dataset(signals, rows, labels[rows], ("slow", "fast"))

    return TuningData(part(order[:n_train]), part(order[n_train:]))


def dataset(signals, rows, labels, classes):
    """Return a dataset whose every record is a patient of its own."""
    names = tuple(str(row) for row in rows)
    return EcgDataset(
        signals=signals, rows=rows, labels=labels, classes=classes, records=names, patients=names
    )
