"""S4 against dense matrices and sums written out."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from ecgopt.models.s4 import Kernel, S4Layer, build_s4, legendre_system


@pytest.mark.parametrize("n_states", [2, 8, 16])
def test_the_legendre_system_has_the_eigenvalues_of_its_published_matrix(n_states):
    """The matrix of HiPPO-LegS is triangular with -1, -2, ... on its diagonal."""
    half, low_rank, _ = legendre_system(n_states)
    poles = np.concatenate([half, half.conj()])
    part = np.concatenate([low_rank, low_rank.conj()])
    matrix = np.diag(poles) - np.outer(part, part.conj())
    found = np.sort(np.linalg.eigvals(matrix).real)
    np.testing.assert_allclose(found, -np.arange(n_states, 0, -1.0), rtol=1e-4)


@pytest.mark.parametrize("n_nodes", [63, 64])
def test_a_kernel_is_the_response_of_its_dense_system(n_nodes):
    torch.manual_seed(0)
    kernel = Kernel(3, 8, n_nodes, n_directions=2)
    found = kernel(50).detach().numpy()
    for direction in range(2):
        for channel in range(3):

            def whole(tensor):
                half = torch.view_as_complex(tensor.detach()).numpy().astype(complex)
                return np.concatenate([half, half.conj()])

            poles = whole(kernel.eigenvalues[channel])
            left, right = whole(kernel.left[0, channel]), whole(kernel.right[0, channel])
            matrix = np.diag(poles) - np.outer(left, right)
            step = float(kernel.log_step[channel].exp())
            back = np.linalg.inv(np.eye(8) - step / 2 * matrix)
            over = back @ (np.eye(8) + step / 2 * matrix)
            state = back @ (step * whole(kernel.inputs[0, channel]))
            rest = np.eye(8) - np.linalg.matrix_power(over, n_nodes)
            out = whole(kernel.outputs[direction, channel]) @ np.linalg.inv(rest)
            expected = []
            for _ in range(50):
                expected.append((out @ state).real)
                state = over @ state
            size = np.abs(expected).max()
            np.testing.assert_allclose(found[direction, channel], expected, atol=1e-4 * size)


def test_a_layer_that_looks_both_ways_is_two_sums():
    torch.manual_seed(0)
    layer = S4Layer(4, 40, looks_ahead=True)
    features = torch.randn(2, 4, 30)
    with torch.no_grad():
        back, ahead = layer.kernel(30)
        summed = torch.zeros_like(features)
        for time in range(30):
            for other in range(30):
                lag = time - other
                response = back[:, lag] if lag >= 0 else ahead[:, -lag - 1]
                summed[:, :, time] += features[:, :, other] * response
        y = functional.gelu(summed + features * layer.skip[0][:, None])
        first, gate = (layer.mix_weight @ y + layer.mix_bias).chunk(2, dim=1)
        y = (first * torch.sigmoid(gate) + features).mT
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(layer(features), y.mT, atol=1e-4, rtol=0)


def test_a_layer_that_looks_back_does_not_see_what_comes():
    torch.manual_seed(0)
    layer = S4Layer(4, 40, looks_ahead=False)
    features = torch.randn(1, 4, 30)
    changed = features.clone()
    changed[:, :, 20:] += 1
    with torch.no_grad():
        difference = (layer(features) - layer(changed)).abs().amax(dim=(0, 1))
    assert difference[:20].max() < 1e-5
    assert difference[20:].min() > 1e-3


def test_only_outputs_of_a_kernel_are_trained_as_published():
    model = build_s4(n_leads=12, n_samples=100, n_labels=5, width=4)
    kernel = model.stage("layer0").kernel
    assert [name for name, _ in kernel.named_parameters()] == ["outputs"]
