"""Attention that sees the last eight bytes only, in two layers, with rotary positions."""

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, WINDOW, LAYERS = 48, 4, 8, 2


def rotate(x):
    """x: [B, H, T, D], turned by its position."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 100.0 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


class Model(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embed = nn.Embedding(vocab, WIDTH)
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, 96), nn.GELU(), nn.Linear(96, WIDTH)) for _ in range(2))

    def forward(self, tokens):
        batch, length = tokens.shape
        at = torch.arange(length)
        near = (at[None] <= at[:, None]) & (at[None] > at[:, None] - WINDOW)
        x = self.embed(tokens)
        for qkv, mlp in zip(self.qkv, self.mlp, strict=True):
            q, k, v = qkv(F.layer_norm(x, (WIDTH,))).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(rotate(q), rotate(k), v, attn_mask=near)
            x = x + mixed.transpose(1, 2).reshape(batch, length, WIDTH)
            x = x + mlp(F.layer_norm(x, (WIDTH,)))
        return F.layer_norm(x, (WIDTH,)) @ self.embed.weight.T


def train(session):
    model = Model(session.task.vocab)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    window, data = torch.arange(33), session.start()
    step = 0
    while session.remaining() > 0.3:
        rows = data[torch.randint(len(data) - 33, (16, 1)) + window].long()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        session.report(step=step, loss=loss.item())
    return model.state_dict()


def predict(state, task):
    model = Model(task.vocab)
    model.load_state_dict(state)
    return model.eval()
