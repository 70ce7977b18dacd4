"""A modern GPT on tokens: the program that the search of the task `gpt` starts from.

Run it alone with `python train/seeds/gpt.py`. RMSNorm without weights, rotary positions, normalised queries and keys,
squared ReLU, value embeddings in every other block, a residual from the embedding to every block, capped logits. Muon
trains the matrices of the blocks, AdamW the rest. Rates stay constant, then decay to zero by the clock. The sizes give
50 million parameters; the rates are plausible defaults, not tuned for this budget.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import prepare

WIDTH = 512  # tune: 128..1024 log step 128
DEPTH = 8  # tune: 2..16
HEAD_SIZE = 128  # tune: 64|128
BATCH = 256  # rows per step; tune: 32..1024 log step 32
MICRO = 64  # rows per forward pass, as many as fit into memory; tune: no
MLP_RATIO = 4
ROTARY_BASE = 10000.0
LOGIT_CAP = 15.0
MATRIX_RATE = 0.02
EMBEDDING_RATE = 0.3
HEAD_RATE = 0.004
SCALAR_RATE = 0.02
MATRIX_DECAY = 0.02  # share of a weight that a step of rate 1 subtracts
MOMENTUM = 0.95
BETA1 = 0.8
BETA2 = 0.95
WARMUP = 0.01  # share of the budget
WARMDOWN = 0.5  # share of the budget in which the rates decay to zero
NEWTON_STEPS = 5  # tune: 3..7


def norm(x: Tensor) -> Tensor:
    """Scale the last axis to a mean square of 1."""
    return F.rms_norm(x, (x.shape[-1],)).to(x.dtype)


def rotary(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [length, 1, HEAD_SIZE / 2] of the rotary angles of each position."""
    speeds = ROTARY_BASE ** -torch.linspace(0, 1, HEAD_SIZE // 2 + 1, device=device)[:-1]
    angles = torch.arange(length, device=device)[:, None, None] * speeds
    return angles.cos(), angles.sin()


def turned(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary position embeddings to x: [B, T, heads, HEAD_SIZE]."""
    cos, sin = (part.to(x.dtype) for part in angles)
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos + right * sin, right * cos - left * sin], -1)


class Block(nn.Module):
    """Attention, then a two-layer MLP, each on a normalised copy of the residual stream."""

    def __init__(self, width: int, vocab: int, has_values: bool) -> None:
        super().__init__()
        self.heads = width // HEAD_SIZE
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up = nn.Linear(width, MLP_RATIO * width, bias=False)
        self.down = nn.Linear(MLP_RATIO * width, width, bias=False)
        self.values = nn.Embedding(vocab, width) if has_values else None
        self.mix = nn.Parameter(torch.tensor([1.0, 0.1]))  # weights of the residual stream and the embedding
        self.value_share = nn.Parameter(torch.full((self.heads, 1), 0.5)) if has_values else None

    def forward(self, x: Tensor, first: Tensor, tokens: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        batch, length, width = x.shape
        x = self.mix[0].to(x.dtype) * x + self.mix[1].to(x.dtype) * first
        y = norm(x)
        q, k, v = (part(y).view(batch, length, self.heads, -1) for part in (self.query, self.key, self.value))
        if self.values is not None:
            v = v + self.value_share.to(v.dtype) * self.values(tokens).view_as(v).to(v.dtype)
        q, k = norm(turned(q, angles)), norm(turned(k, angles))
        mixed = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v)), is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.relu(self.up(norm(x))).square())


class GPT(nn.Module):
    """Tokens [B, T] to logits [B, T, vocab]."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        width = max(1, WIDTH // HEAD_SIZE) * HEAD_SIZE
        self.tokens = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block(width, vocab, has_values=i % 2 == 1) for i in range(DEPTH))
        self.head = nn.Linear(width, vocab, bias=False)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight", "head.weight")):
                nn.init.zeros_(weight)  # every block starts as the identity, and all tokens as equally likely
            elif weight.dim() == 2 and "value_share" not in name:
                embedding = name.endswith(("tokens.weight", "values.weight"))
                nn.init.normal_(weight, std=1.0 if embedding else 1 / math.sqrt(weight.shape[1]))

    def forward(self, tokens: Tensor) -> Tensor:
        first = norm(self.tokens(tokens))
        if torch.is_autocast_enabled(first.device.type):
            first = first.to(torch.get_autocast_dtype(first.device.type))  # the residual stream in 16 bits too
        x, angles = first, rotary(tokens.shape[1], tokens.device)
        for block in self.blocks:
            x = block(x, first, tokens, angles)
        return LOGIT_CAP * torch.tanh(self.head(norm(x)).float() / LOGIT_CAP)

    def loss(self, rows: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per token: rows [B, T + 1]."""
        return F.cross_entropy(self(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def orthogonal(matrices: Tensor) -> Tensor:
    """Move all singular values of matrices [N, A, B] close to 1: Newton-Schulz steps (Jordan and others, 2024)."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_STEPS):
        square = x @ x.mT
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Optimiser that steps along the nearest orthogonal matrix of the momentum. Batches matrices of equal shape."""

    def __init__(self, matrices: list[Tensor], compiled: bool) -> None:
        shapes = sorted({tuple(matrix.shape) for matrix in matrices})
        groups = [{"params": [m for m in matrices if tuple(m.shape) == shape]} for shape in shapes]
        super().__init__(groups, {"lr": MATRIX_RATE})
        self.orthogonal = torch.compile(orthogonal, dynamic=False) if compiled else orthogonal

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            matrices, rate = group["params"], group["lr"]
            gradient = torch.stack([matrix.grad for matrix in matrices])
            if "momentum" not in (state := self.state[matrices[0]]):
                state["momentum"] = torch.zeros_like(gradient)
            momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            update = self.orthogonal(gradient.lerp(momentum, MOMENTUM))
            scale = math.sqrt(max(1.0, update.shape[1] / update.shape[2]))
            torch._foreach_mul_(matrices, 1 - rate * MATRIX_DECAY)
            torch._foreach_add_(matrices, list(update.unbind()), alpha=-rate * scale)


def optimisers_of(model: GPT, cuda: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, head and scalars."""
    matrices, embeddings, scalars = [], [], []
    for name, weight in model.blocks.named_parameters():
        group = embeddings if "values.weight" in name else matrices if name.endswith(".weight") else scalars
        group.append(weight)
    groups = [
        {"params": [model.tokens.weight, *embeddings], "lr": EMBEDDING_RATE},
        {"params": [model.head.weight], "lr": HEAD_RATE},
        {"params": scalars, "lr": SCALAR_RATE},
    ]
    adam = torch.optim.AdamW(groups, betas=(BETA1, BETA2), eps=1e-10, weight_decay=0.0, fused=cuda)
    optimisers = [Muon(matrices, compiled=cuda), adam]
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["full"] = group["lr"]
    return optimisers


def share_of_rate(progress: float) -> float:
    """Return the share of the full rate at a share of the budget: short warm-up, constant, linear decay to zero."""
    return min(1.0, (progress + 1e-3) / (WARMUP + 1e-3), (1.0 - progress) / WARMDOWN)


def train(session: prepare.Session) -> dict[str, Tensor]:
    """Fit the model inside the budget; return its state."""
    torch.manual_seed(session.seed)
    device, width = session.device, session.task.context + 1
    cuda = device == "cuda"
    parts = math.ceil(BATCH / MICRO)
    micro = BATCH // parts
    model = GPT(session.task.vocab).to(device)
    optimisers = optimisers_of(model, cuda)
    loss_of = torch.compile(model.loss, dynamic=False) if cuda else model.loss

    def step(batches, share: float) -> Tensor:
        for batch in batches:
            with torch.autocast(device, torch.bfloat16, enabled=cuda):
                loss = loss_of(batch.to(device, non_blocking=True).long())
            (loss / parts).backward()
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = share * group["full"]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    # Compile and warm up before the clock starts, with a step of rate 0 on random tokens.
    noise = torch.randint(session.task.vocab, (micro, width), dtype=torch.int16)
    step([noise] * parts, 0.0).item()
    for optimiser in optimisers:
        optimiser.state.clear()

    rows = session.start().view(-1, width)
    done, pace, loss = 0, 0.0, None
    while session.remaining() > 2 * pace:  # do not start a step that does not fit
        began, before = session.elapsed(), loss
        places = torch.arange(done * parts * micro, (done + 1) * parts * micro) % len(rows)
        loss = step((rows[part] for part in places.split(micro)), share_of_rate(session.progress()))
        done += 1
        # Waits for the previous step, so that exactly one step is queued on a GPU.
        session.report(step=done, loss=(loss if before is None else before).item())
        pace = max(0.8 * pace, session.elapsed() - began)  # a decaying maximum, which forgets a single slow step
    return model.state_dict()


def predict(state: dict[str, Tensor], task: prepare.TaskInfo):
    """Rebuild the trained model: tokens [B, T] -> logits [B, T, vocab] of the next token."""
    model = GPT(task.vocab)
    model.load_state_dict(state)
    model.to(task.device).eval()

    def logits(tokens: Tensor) -> Tensor:
        with torch.autocast(task.device, torch.bfloat16, enabled=task.device == "cuda"):
            return model(tokens)

    return logits


if __name__ == "__main__":
    prepare.standalone(train, predict)
