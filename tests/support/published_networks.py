"""The forward passes of public models, written as formulas over tensors with their published names.

Each model has two functions: its tensors with random values, and the features that it computes.
Nothing here uses ecgopt's networks.
"""

import math

import torch
import torch.nn.functional as F


class Made(dict):
    """A table of tensors with random values, filled layer by layer."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def add(self, name, *shape, scale=None, shift=0.0):
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
        size = 1 / math.sqrt(fan_in) if scale is None else scale
        self[name] = torch.randn(*shape, generator=self.generator) * size + shift

    def linear(self, name, n_in, n_out, *, bias=True):
        self.add(f"{name}.weight", n_out, n_in)
        if bias:
            self.add(f"{name}.bias", n_out, scale=0.1)

    def conv(self, name, n_in, n_out, kernel, *, bias=False):
        self.add(f"{name}.weight", n_out, n_in, kernel)
        if bias:
            self.add(f"{name}.bias", n_out, scale=0.1)

    def norm(self, name, width):
        self.add(f"{name}.weight", width, scale=0.1, shift=1.0)
        self.add(f"{name}.bias", width, scale=0.1)

    def batch_norm(self, name, width):
        self.norm(name, width)
        self.add(f"{name}.running_mean", width, scale=0.1)
        self[f"{name}.running_var"] = torch.rand(width, generator=self.generator) + 0.5
        self[f"{name}.num_batches_tracked"] = torch.tensor(7)


def batch_norm(w, name, x):
    return F.batch_norm(
        x,
        w[f"{name}.running_mean"],
        w[f"{name}.running_var"],
        w[f"{name}.weight"],
        w[f"{name}.bias"],
    )


def layer_norm(w, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


# MERL: torchvision's ResNet18 in one dimension without max-pooling


def merl_weights(width=64, seed=0):
    w = Made(seed)
    w.conv("conv1", 12, width, 7)
    w.batch_norm("bn1", width)
    n_in = width
    for stage in range(4):
        n_out = width * 2**stage
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            w.conv(f"{name}.conv1", n_in, n_out, 3)
            w.batch_norm(f"{name}.bn1", n_out)
            w.conv(f"{name}.conv2", n_out, n_out, 3)
            w.batch_norm(f"{name}.bn2", n_out)
            if n_in != n_out:
                w.conv(f"{name}.shortcut.0", n_in, n_out, 1)
                w.batch_norm(f"{name}.shortcut.1", n_out)
            n_in = n_out
    w.linear("linear", n_in, 10)
    return dict(w)


def merl_features(w, x):
    x = F.relu(batch_norm(w, "bn1", F.conv1d(x, w["conv1.weight"], stride=2, padding=3)))
    for stage in range(4):
        for block in range(2):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = F.conv1d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = F.relu(batch_norm(w, f"{name}.bn1", y))
            y = batch_norm(w, f"{name}.bn2", F.conv1d(y, w[f"{name}.conv2.weight"], padding=1))
            if f"{name}.shortcut.0.weight" in w:
                x = F.conv1d(x, w[f"{name}.shortcut.0.weight"], stride=stride)
                x = batch_norm(w, f"{name}.shortcut.1", x)
            x = F.relu(x + y)
    return x.mean(dim=2)


# The PTB-XL benchmark's xresnet1d101, as fastai stores it


def xresnet_weights(width=64, seed=0):
    w = Made(seed)
    for layer, (n_in, n_out) in enumerate(
        ((12, width // 2), (width // 2,) * 2, (width // 2, width))
    ):
        w.conv(f"{layer}.0", n_in, n_out, 5)
        w.batch_norm(f"{layer}.1", n_out)
    n_in = width
    for stage, depth in enumerate((3, 4, 23, 3), 4):
        for block in range(depth):
            name = f"{stage}.{block}"
            shapes = ((n_in, width, 1), (width, width, 5), (width, 4 * width, 1))
            for layer, (a, b, kernel) in enumerate(shapes):
                w.conv(f"{name}.convs.{layer}.0", a, b, kernel)
                w.batch_norm(f"{name}.convs.{layer}.1", b)
            if n_in != 4 * width:
                w.conv(f"{name}.idpath.0.0", n_in, 4 * width, 1)
                w.batch_norm(f"{name}.idpath.0.1", 4 * width)
            n_in = 4 * width
    w.batch_norm("8.2", 2 * n_in)
    w.linear("8.4", 2 * n_in, 2 * width)
    w.batch_norm("8.6", 2 * width)
    w.linear("8.8", 2 * width, 5)
    twice = {n.replace(".convs.", ".convpath.0."): t for n, t in w.items() if ".convs." in n}
    return {**w, **twice}


def xresnet_features(w, x):
    for layer in range(3):
        x = F.conv1d(x, w[f"{layer}.0.weight"], stride=1 if layer else 2, padding=2)
        x = F.relu(batch_norm(w, f"{layer}.1", x))
    x = F.max_pool1d(x, 3, 2, 1)
    for stage, depth in enumerate((3, 4, 23, 3), 4):
        for block in range(depth):
            name, stride = f"{stage}.{block}.convs", 2 if stage > 4 and not block else 1
            y = F.relu(batch_norm(w, f"{name}.0.1", F.conv1d(x, w[f"{name}.0.0.weight"])))
            y = F.conv1d(y, w[f"{name}.1.0.weight"], stride=stride, padding=2)
            y = F.relu(batch_norm(w, f"{name}.1.1", y))
            y = batch_norm(w, f"{name}.2.1", F.conv1d(y, w[f"{name}.2.0.weight"]))
            if stride == 2:
                x = F.avg_pool1d(x, 2, ceil_mode=True)
            short = f"{stage}.{block}.idpath.0"
            if f"{short}.0.weight" in w:
                x = batch_norm(w, f"{short}.1", F.conv1d(x, w[f"{short}.0.weight"]))
            x = F.relu(x + y)
    x = torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1)
    x = F.relu(linear(w, "8.4", batch_norm(w, "8.2", x)))
    return batch_norm(w, "8.6", x)
