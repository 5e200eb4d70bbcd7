"""The forward passes of public models, written as formulas over tensors with their published names.

Each model has two functions: one makes its tensors with random values, the other returns what each
stage computes, with the features at the end. Nothing here uses ecgopt's networks.
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


def merl_stages(w, x):
    x = F.relu(batch_norm(w, "bn1", F.conv1d(x, w["conv1.weight"], stride=2, padding=3)))
    seen = [x]
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
        seen.append(x)
    return [*seen[:-1], x.mean(dim=2)]


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


def xresnet_stages(w, x):
    for layer in range(3):
        x = F.conv1d(x, w[f"{layer}.0.weight"], stride=1 if layer else 2, padding=2)
        x = F.relu(batch_norm(w, f"{layer}.1", x))
    x = F.max_pool1d(x, 3, 2, 1)
    seen = [x]
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
        seen.append(x)
    x = torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1)
    x = F.relu(linear(w, "8.4", batch_norm(w, "8.2", x)))
    return [*seen[:-1], batch_norm(w, "8.6", x)]


# ECGFounder: Net1D without its normalisation, whose tensors are in the file all the same


def ecgfounder_weights(width=64, seed=0):
    assert width % 64 == 0
    w = Made(seed)
    w.conv("first_conv.conv", 12, width, 16, bias=True)
    w.batch_norm("first_bn", width)
    n_in = width
    shapes = zip((64, 160, 160, 400, 400, 1024, 1024), (2, 2, 2, 3, 3, 4, 4), strict=True)
    for stage, (filters, depth) in enumerate(shapes):
        n_out = filters * width // 64
        for block in range(depth):
            name = f"stage_list.{stage}.block_list.{block}"
            w.batch_norm(f"{name}.bn1", n_in)
            w.conv(f"{name}.conv1.conv", n_in, n_out, 1, bias=True)
            w.batch_norm(f"{name}.bn2", n_out)
            w.conv(f"{name}.conv2.conv", 16, n_out, 16, bias=True)
            w.batch_norm(f"{name}.bn3", n_out)
            w.conv(f"{name}.conv3.conv", n_out, n_out, 1, bias=True)
            w.linear(f"{name}.se_fc1", n_out, n_out // 2)
            w.linear(f"{name}.se_fc2", n_out // 2, n_out)
            n_in = n_out
    w.linear("dense", n_in, 150)
    return dict(w)


def same_conv(w, name, x, stride=1):
    weight, bias = w[f"{name}.conv.weight"], w[f"{name}.conv.bias"]
    kernel, n = weight.shape[2], x.shape[2]
    missing = max(0, (math.ceil(n / stride) - 1) * stride + kernel - n)
    x = F.pad(x, (missing // 2, missing - missing // 2))
    return F.conv1d(x, weight, bias, stride, groups=x.shape[1] // weight.shape[1])


def swish(x):
    return x * torch.sigmoid(x)


def ecgfounder_stages(w, x):
    seen = [swish(same_conv(w, "first_conv", x, 2))]
    for stage, depth in enumerate((2, 2, 2, 3, 3, 4, 4)):
        x = seen[-1]
        for block in range(depth):
            name, stride = f"stage_list.{stage}.block_list.{block}", 1 if block else 2
            y = same_conv(w, f"{name}.conv1", x if stage == block == 0 else swish(x))
            y = same_conv(w, f"{name}.conv2", swish(y), stride)
            y = same_conv(w, f"{name}.conv3", swish(y))
            gate = linear(w, f"{name}.se_fc2", swish(linear(w, f"{name}.se_fc1", y.mean(2))))
            y = torch.einsum("abc,ab->abc", y, torch.sigmoid(gate))
            if stride == 2:
                x = F.max_pool1d(F.pad(x, (0, 1)), 2)
            new = y.shape[1] - x.shape[1]
            empty = [x.new_zeros(len(x), n, x.shape[2]) for n in (new // 2, new - new // 2)]
            x = torch.cat([empty[0], x, empty[1]], dim=1) + y
        seen.append(x)
    return [*seen[:-1], x.mean(2)]


def attention(queries, keys, values, n_heads, allowed=None):
    """Softmax attention, one head after the other."""
    width = queries.shape[-1] // n_heads
    heads = []
    for head in range(n_heads):
        part = slice(head * width, (head + 1) * width)
        scores = queries[..., part] @ keys[..., part].mT / math.sqrt(width)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -math.inf)
        heads.append(scores.softmax(dim=-1) @ values[..., part])
    return torch.cat(heads, dim=-1)


# ST-MEM: a vision transformer over patches of single leads, with separators


def st_mem_weights(width=768, seed=0):
    w = Made(seed)
    w.norm("to_patch_embedding.1", 75)
    w.linear("to_patch_embedding.2", 75, width)
    w.norm("to_patch_embedding.3", width)
    w.add("pos_embedding", 1, 32, width, scale=0.5)
    w.add("sep_embedding", width, scale=0.5)
    for lead in range(12):
        w.add(f"lead_embeddings.{lead}", width, scale=0.5)
    for block in range(12):
        w.norm(f"block{block}.attn.norm", width)
        w.linear(f"block{block}.attn.fn.to_qkv", width, 3 * width)
        w.linear(f"block{block}.attn.fn.to_out.0", width, width)
        w.norm(f"block{block}.ff.norm", width)
        w.linear(f"block{block}.ff.fn.net.0", width, 4 * width)
        w.linear(f"block{block}.ff.fn.net.3", 4 * width, width)
    w.norm("norm", width)
    return dict(w)


def st_mem_full_file(encoder):
    """The checkpoint of the whole pre-training, with the decoder."""
    w = Made(1)
    w.add("mask_embedding", 8)
    w.linear("to_decoder_embedding", 8, 8)
    w.add("decoder_pos_embed", 1, 32, 8)
    w.linear("decoder_blocks.0.attn.fn.to_qkv", 8, 24)
    w.linear("decoder_head", 8, 75)
    return {"model": {f"encoder.{name}": tensor for name, tensor in encoder.items()} | w}


def st_mem_stages(w, x):
    n, width = x.shape[2] // 75, len(w["sep_embedding"])
    x = x.reshape(len(x), 12, n, 75)
    x = layer_norm(w, "to_patch_embedding.1", x)
    x = layer_norm(w, "to_patch_embedding.3", linear(w, "to_patch_embedding.2", x))
    rows = []
    for lead in range(12):
        place = w["pos_embedding"][0] + w[f"lead_embeddings.{lead}"]
        left = (w["sep_embedding"] + place[0]).expand(len(x), 1, width)
        right = (w["sep_embedding"] + place[n + 1]).expand(len(x), 1, width)
        rows += [left, x[:, lead] + place[1 : n + 1], right]
    seen = [torch.cat(rows, dim=1)]
    for block in range(12):
        x, name = seen[-1], f"block{block}"
        y = linear(w, f"{name}.attn.fn.to_qkv", layer_norm(w, f"{name}.attn.norm", x))
        y = attention(*y.chunk(3, dim=-1), width // 64)
        x = x + linear(w, f"{name}.attn.fn.to_out.0", y)
        y = linear(w, f"{name}.ff.fn.net.0", layer_norm(w, f"{name}.ff.norm", x))
        seen.append(x + linear(w, f"{name}.ff.fn.net.3", F.gelu(y)))
    kept = [seen[-1].reshape(len(x), 12, n + 2, width)[:, :, place] for place in range(1, n + 1)]
    return [*seen[:-1], layer_norm(w, "norm", torch.stack(kept, 2).mean(dim=(1, 2)))]


# ECG-JEPA: patches look at their own lead and their own time; places are added before each block


def ecg_jepa_weights(width=768, seed=0):
    w = Made(seed)
    w.add("pos_embed", 400, width, scale=0.5)
    for block in range(12):
        name = f"encoder_blocks.blocks.{block}"
        w.norm(f"{name}.norm1", width)
        w.norm(f"{name}.norm2", width)
        w.linear(f"{name}.mlp.fc1", width, 4 * width)
        w.linear(f"{name}.mlp.fc2", 4 * width, width)
        w.linear(f"{name}.attn.qkv", width, 3 * width, bias=False)
        w.linear(f"{name}.attn.proj", width, width)
    w.norm("norm", width)
    w.linear("W_P", 50, width)
    return dict(w)


def ecg_jepa_stages(w, x):
    seen = [linear(w, "W_P", x.reshape(len(x), 400, 50))]
    width = seen[0].shape[-1]
    lead, time = torch.arange(400) // 50, torch.arange(400) % 50
    allowed = (lead[:, None] == lead) | (time[:, None] == time)
    for block in range(12):
        name = f"encoder_blocks.blocks.{block}"
        x = seen[-1] + w["pos_embed"]
        y = linear(w, f"{name}.attn.qkv", layer_norm(w, f"{name}.norm1", x))
        y = attention(*y.chunk(3, dim=-1), width // 48, allowed)
        x = x + linear(w, f"{name}.attn.proj", y)
        y = F.gelu(linear(w, f"{name}.mlp.fc1", layer_norm(w, f"{name}.norm2", x)))
        seen.append(x + linear(w, f"{name}.mlp.fc2", y))
    return [*seen[:-1], layer_norm(w, "norm", seen[-1]).mean(dim=1)]


# HuBERT-ECG and ECG-FM: wav2vec 2.0 under the names of transformers and of fairseq

HUBERT = {
    "conv": "feature_extractor.conv_layers.{}.conv",
    "group_norm": "feature_extractor.conv_layers.0.layer_norm",
    "feature_norm": "feature_projection.layer_norm",
    "project": "feature_projection.projection",
    "places": "encoder.pos_conv_embed.conv",
    "norm": "encoder.layer_norm",
    "attention": "encoder.layers.{}.attention",
    "attention_norm": "encoder.layers.{}.layer_norm",
    "up": "encoder.layers.{}.feed_forward.intermediate_dense",
    "down": "encoder.layers.{}.feed_forward.output_dense",
    "last_norm": "encoder.layers.{}.final_layer_norm",
}
FAIRSEQ = {
    "conv": "feature_extractor.conv_layers.{}.0",
    "group_norm": "feature_extractor.conv_layers.0.2",
    "feature_norm": "layer_norm",
    "project": "post_extract_proj",
    "places": "conv_pos.pos_conv.0",
    "norm": "encoder.layer_norm",
    "attention": "encoder.layers.{}.self_attn",
    "attention_norm": "encoder.layers.{}.self_attn_layer_norm",
    "up": "encoder.layers.{}.fc1",
    "down": "encoder.layers.{}.fc2",
    "last_norm": "encoder.layers.{}.final_layer_norm",
}
HUBERT_KERNELS, HUBERT_STRIDES = (10, 3, 3, 2, 2), (4, 2, 2, 2, 2)
FAIRSEQ_KERNELS, FAIRSEQ_STRIDES = (2, 2, 2, 2), (2, 2, 2, 2)


def wav2vec2_weights(names, kernels, *, n_in, conv_width, width, n_layers, seed=0):
    w = Made(seed)
    for layer, kernel in enumerate(kernels):
        w.conv(names["conv"].format(layer), n_in, conv_width, kernel)
        n_in = conv_width
    w.norm(names["group_norm"], conv_width)
    w.norm(names["feature_norm"], conv_width)
    w.linear(names["project"], conv_width, width)
    w.add(f"{names['places']}.weight_v", width, width // 16, 128)
    w.add(f"{names['places']}.weight_g", 1, 1, 128, scale=0.1, shift=1.0)
    w.add(f"{names['places']}.bias", width, scale=0.1)
    w.norm(names["norm"], width)
    for layer in range(n_layers):
        for each in ("q", "k", "v", "out"):
            w.linear(f"{names['attention'].format(layer)}.{each}_proj", width, width)
        w.norm(names["attention_norm"].format(layer), width)
        w.linear(names["up"].format(layer), width, 4 * width)
        w.linear(names["down"].format(layer), 4 * width, width)
        w.norm(names["last_norm"].format(layer), width)
    return dict(w)


def hubert_weights(width, n_layers, conv_width):
    w = wav2vec2_weights(
        HUBERT, HUBERT_KERNELS, n_in=1, conv_width=conv_width, width=width, n_layers=n_layers
    )
    return w | {
        "masked_spec_embed": torch.rand(width),
        "final_proj.0.weight": torch.rand(4, width),
        "final_proj.0.bias": torch.rand(4),
        "label_embedding.0.weight": torch.rand(9, 4),
    }


def ecg_fm_weights(width=768):
    w = wav2vec2_weights(
        FAIRSEQ, FAIRSEQ_KERNELS, n_in=12, conv_width=width // 3, width=width, n_layers=12
    )
    # Newer releases of torch store a normalised weight under these names.
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        w[f"conv_pos.pos_conv.0.parametrizations.weight.{new}"] = w.pop(
            f"conv_pos.pos_conv.0.{old}"
        )
    return w | {
        "mask_emb": torch.rand(width),
        "quantizer.vars": torch.rand(1, 8, 4),
        "quantizer.weight_proj.weight": torch.rand(8, width // 3),
        "project_q.weight": torch.rand(8, 8),
        "final_proj.weight": torch.rand(8, width),
    }


def wav2vec2_stages(w, x, names, strides):
    for layer, stride in enumerate(strides):
        x = F.conv1d(x, w[f"{names['conv'].format(layer)}.weight"], stride=stride)
        if layer == 0:
            # Each channel by its own mean and deviation over time.
            x = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
            scale, shift = (w[f"{names['group_norm']}.{each}"] for each in ("weight", "bias"))
            x = x * scale[:, None] + shift[:, None]
        x = F.gelu(x)
    seen = [x]
    x = linear(w, names["project"], layer_norm(w, names["feature_norm"], x.mT))
    place = names["places"]
    new = f"{place}.parametrizations.weight.original"
    size = w[f"{new}0"] if f"{new}0" in w else w[f"{place}.weight_g"]
    direction = w[f"{new}1"] if f"{new}1" in w else w[f"{place}.weight_v"]
    kernel = size * direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    y = F.conv1d(F.pad(x.mT, (64, 63)), kernel, w[f"{place}.bias"], groups=16)
    seen.append(layer_norm(w, names["norm"], x + F.gelu(y).mT))
    n_layers = sum(name.endswith("q_proj.weight") for name in w)
    for layer in range(n_layers):
        x, name = seen[-1], names["attention"].format(layer)
        three = (linear(w, f"{name}.{each}_proj", x) for each in "qkv")
        y = linear(w, f"{name}.out_proj", attention(*three, x.shape[-1] // 64))
        x = layer_norm(w, names["attention_norm"].format(layer), x + y)
        y = linear(w, names["down"].format(layer), F.gelu(linear(w, names["up"].format(layer), x)))
        seen.append(layer_norm(w, names["last_norm"].format(layer), x + y))
    return [*seen[:-1], seen[-1].mean(dim=1)]


def hubert_stages(w, x):
    return wav2vec2_stages(w, x.reshape(len(x), 1, -1), HUBERT, HUBERT_STRIDES)


def ecg_fm_stages(w, x):
    return wav2vec2_stages(w, x, FAIRSEQ, FAIRSEQ_STRIDES)


# ECG-CPC: convolutions and causal state-space layers, run here as recurrences


def ecg_cpc_weights(width=512, n_nodes=1024, seed=0):
    w = Made(seed)
    for layer in range(4):
        w.conv(f"ts_encoder.layers.{layer}.0", width if layer else 12, width, 1 if layer else 3)
        w.batch_norm(f"ts_encoder.layers.{layer}.1", width)
    for layer in range(4):
        name = f"ts_encoder.predictor.s4_layers.{layer}"
        kernel = f"{name}.kernel.kernel"
        w.add(f"{name}.D", 1, width, scale=1.0)
        w.add(f"{kernel}.C", 1, width, 4, 2, scale=0.7)
        w.add(f"{kernel}.B", 1, width, 4, 2, scale=1.0)
        w.add(f"{kernel}.P", 1, width, 4, 2, scale=0.5)
        w[f"{kernel}.Q"] = w[f"{kernel}.P"] * torch.tensor([1.0, -1.0])
        w.add(f"{kernel}.w", width, 4, 2, scale=1.0)
        w[f"{kernel}.w"][..., 0] = -0.5
        w[f"{kernel}.log_dt"] = torch.rand(width, generator=w.generator) * 4.6 - 6.9
        angle = -2j * math.pi * torch.arange(n_nodes // 2 + 1) / n_nodes
        w[f"{kernel}.omega"] = torch.view_as_real(angle.exp())
        w[f"{kernel}.z"] = torch.rand(n_nodes // 2 + 1, 2)
        w.add(f"{name}.output_linear.0.weight", 2 * width, width)
        w.add(f"{name}.output_linear.0.bias", 2 * width, 1, scale=0.1)
        w.norm(f"ts_encoder.predictor.norms.{layer}", width)
    w.linear("head.proj", width, 12)
    return dict(w)


def impulse_responses(w, kernel, n):
    """The responses of all channels, by stepping dense state matrices in double precision."""
    half = {
        each: torch.view_as_complex(w[f"{kernel}.{each}"]).to(torch.complex128) for each in "BCPQw"
    }
    b, c, p, q, poles = (torch.cat([half[e], half[e].conj()], dim=-1) for e in "BCPQw")
    matrix = torch.diag_embed(poles) - p[0].unsqueeze(-1) * q[0].unsqueeze(-2)
    step = w[f"{kernel}.log_dt"].double().exp()[:, None, None]
    same = torch.eye(8, dtype=torch.complex128)
    back = torch.linalg.inv(same - step / 2 * matrix)
    over = back @ (same + step / 2 * matrix)
    state = back @ (step * b[0].unsqueeze(-1))
    # The file holds the outputs times what the kernel's length leaves out.
    n_nodes = 2 * (len(w[f"{kernel}.omega"]) - 1)
    whole = torch.linalg.inv(same - torch.linalg.matrix_power(over, n_nodes))
    out = c[0].unsqueeze(-2) @ whole
    responses = []
    for _ in range(n):
        responses.append((out @ state).real.flatten())
        state = over @ state
    return torch.stack(responses, dim=1)


def ecg_cpc_stages(w, x):
    for layer in range(4):
        name = f"ts_encoder.layers.{layer}"
        stride, pad = (1, 0) if layer else (2, 1)
        x = F.conv1d(x, w[f"{name}.0.weight"], stride=stride, padding=pad)
        x = F.relu(batch_norm(w, f"{name}.1", x))
    seen = [x]
    for layer in range(4):
        x, name = seen[-1], f"ts_encoder.predictor.s4_layers.{layer}"
        n = x.shape[2]
        response = impulse_responses(w, f"{name}.kernel.kernel", n)
        padded = F.pad(x.double(), (n - 1, 0))
        y = F.conv1d(padded, response.flip(1).unsqueeze(1), groups=len(response)).float()
        y = F.gelu(y + x * w[f"{name}.D"][0].unsqueeze(-1))
        y = w[f"{name}.output_linear.0.weight"] @ y + w[f"{name}.output_linear.0.bias"]
        first, gate = y.chunk(2, dim=1)
        x = (first * torch.sigmoid(gate) + x).mT
        seen.append(layer_norm(w, f"ts_encoder.predictor.norms.{layer}", x).mT)
    return [*seen[:-1], seen[-1].mean(dim=2)]
