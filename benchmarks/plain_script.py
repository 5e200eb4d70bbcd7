"""What a user would write without ecgopt: plain PyTorch, `nn.Conv1d`, a DataLoader, one loop."""

from collections.abc import Iterator

import numpy as np
import torch
import wfdb
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(n_out)
        self.conv2 = nn.Conv1d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(n_out)
        self.relu = nn.ReLU()
        self.down = (
            nn.Identity()
            if stride == 1 and n_in == n_out
            else nn.Sequential(nn.Conv1d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm1d(n_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(out + self.down(x))
        return result


class PlainResNet(nn.Module):
    """ResNet1d18 as published, with `nn.Conv1d`; `stages` holds what can be frozen."""

    def __init__(self, n_labels: int, width: int = 64) -> None:
        super().__init__()
        w = width
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv1d(12, w, 7, 2, 3, bias=False),
                    nn.BatchNorm1d(w),
                    nn.ReLU(),
                    nn.MaxPool1d(3, 2, 1),
                ),
                nn.Sequential(Block(w, w, 1), Block(w, w, 1)),
                nn.Sequential(Block(w, 2 * w, 2), Block(2 * w, 2 * w, 1)),
                nn.Sequential(Block(2 * w, 4 * w, 2), Block(4 * w, 4 * w, 1)),
                nn.Sequential(
                    Block(4 * w, 8 * w, 2),
                    Block(8 * w, 8 * w, 1),
                    nn.AdaptiveAvgPool1d(1),
                    nn.Flatten(),
                    nn.Linear(8 * w, 8 * w),
                    nn.ReLU(),
                ),
            ]
        )
        self.fc = nn.Linear(8 * w, n_labels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.fc(x)
        return logits

    def freeze(self, n_stages: int) -> None:
        """Freeze leading stages the usual way: no gradients, BatchNorm in evaluation mode."""
        for stage in self.stages[:n_stages]:
            stage.requires_grad_(False).eval()


class LazyRecords(Dataset[tuple[Tensor, Tensor]]):
    """Reads a WFDB record whenever it is asked for."""

    def __init__(self, paths: list[str], labels: np.ndarray, dtype: torch.dtype) -> None:
        self.paths, self.labels, self.dtype = paths, labels, dtype

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        signal, _ = wfdb.rdsamp(self.paths[index])
        return (
            torch.tensor(signal.T, dtype=self.dtype),
            torch.tensor(self.labels[index], dtype=self.dtype),
        )


def preloaded(signals_mv: np.ndarray, labels: np.ndarray, dtype: torch.dtype) -> TensorDataset:
    """Return all records as one tensor."""
    return TensorDataset(torch.tensor(signals_mv, dtype=dtype), torch.tensor(labels, dtype=dtype))


def train_epochs(
    model: PlainResNet,
    records: LazyRecords | TensorDataset,
    *,
    batch_size: int,
    learning_rate: float,
    n_frozen_stages: int = 0,
) -> Iterator[float]:
    """Yield the mean loss of each epoch, for as long as it is asked for."""
    model.freeze(n_frozen_stages)
    loader = DataLoader(records, batch_size=batch_size, shuffle=True)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=learning_rate
    )
    while True:
        model.train()
        model.freeze(n_frozen_stages)
        total = 0.0
        for signals, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(signals), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        yield total / len(records)


@torch.no_grad()
def scores(model: PlainResNet, signals: Tensor, batch_size: int = 64) -> np.ndarray:
    """Return the predicted probabilities."""
    model.eval()
    return torch.cat([model(batch) for batch in signals.split(batch_size)]).sigmoid().numpy()
