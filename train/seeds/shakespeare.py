"""A small byte-level GPT: the program that the search of the task `shakespeare` starts from.

Run it alone with `python train/seeds/shakespeare.py`. The constants are the ones that nanoGPT's README gives
for training its character model on a CPU (batch 12, context 64, 4 layers, 4 heads, width 128, rate 1e-3 with
2,000 steps of which 100 warm up, decay to a tenth, weight decay 0.1, beta2 0.99, clipping at 1, no dropout);
steps became shares of the time budget. They are plausible defaults, not tuned for this budget.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import prepare

WIDTH = 128  # tune: 32..512 log step 32
DEPTH = 4
HEAD_SIZE = 32  # tune: 16|32|64
CONTEXT = 64  # tune: 8..128 log step 8
BATCH = 12
LEARNING_RATE = 1e-3
FINAL_RATE = 0.1  # share of LEARNING_RATE at the end of the budget
WARMUP = 0.05  # share of the budget
WEIGHT_DECAY = 0.1
BETA1 = 0.9
BETA2 = 0.99
CLIP = 1.0
DROPOUT = 0.0
MLP_RATIO = 4


class Block(nn.Module):
    """Attention, then a two-layer MLP, each on a normalised copy of the residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, MLP_RATIO * width, bias=False)
        self.down = nn.Linear(MLP_RATIO * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)), DROPOUT, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), DROPOUT, self.training)


class GPT(nn.Module):
    """Tokens [B, T] to logits [B, T, vocab]. Longer inputs are split into independent windows of CONTEXT."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        heads = max(1, WIDTH // HEAD_SIZE)
        width = heads * HEAD_SIZE
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(width)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                scale = 0.02 / math.sqrt(2 * DEPTH) if name.endswith(("out.weight", "down.weight")) else 0.02
                nn.init.normal_(weight, std=scale)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length = tokens.shape
        if length > CONTEXT:
            padded = F.pad(tokens, (0, -length % CONTEXT))
            return self(padded.view(-1, CONTEXT)).view(batch, padded.shape[1], -1)[:, :length]
        x = self.tokens(tokens) + self.positions.weight[:length]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


def rate(progress: float) -> float:
    """Return the learning rate at a share of the budget: linear warm-up, then cosine decay to FINAL_RATE of it."""
    if progress < WARMUP:
        return LEARNING_RATE * (progress + 0.01) / (WARMUP + 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))
    return LEARNING_RATE * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def train(session: prepare.Session) -> dict[str, Tensor]:
    """Fit the model inside the budget; return its state."""
    torch.manual_seed(session.seed)
    model = GPT(session.task.vocab).to(session.device)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(BETA1, BETA2))
    window = torch.arange(CONTEXT + 1)

    data = session.start()
    step, slowest = 0, 0.0
    while session.remaining() > 1.5 * slowest:  # do not start a step that does not fit
        began = session.elapsed()
        starts = torch.randint(len(data) - CONTEXT, (BATCH, 1))
        rows = data[starts + window].long().to(session.device)
        logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        for group in optimiser.param_groups:
            group["lr"] = rate(session.progress())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        step += 1
        session.report(step=step, loss=loss.item())
        slowest = max(slowest, session.elapsed() - began)
    return model.state_dict()


def predict(state: dict[str, Tensor], task: prepare.TaskInfo):
    """Rebuild the trained model: tokens [B, T] -> logits [B, T, vocab] of the next byte."""
    model = GPT(task.vocab)
    model.load_state_dict(state)
    return model.to(task.device).eval()


if __name__ == "__main__":
    prepare.standalone(train, predict)
