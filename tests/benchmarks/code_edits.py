"""Fourteen scripted edits of the program of ``shakespeare``, as a language model might make them, in random order.

An operator for ``shakespeare.py``: each proposal makes one edit that the program does not have yet. An edit is a list
of (text, replacement) of the seed program; where a text is gone, because another edit changed it, the edit cannot be
made there. Some are known to help, some do harm, and some bring a constant of their own. None was chosen by its score.
"""

from __future__ import annotations

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate

PATH = "train.py"
Edit = tuple[tuple[str, str], ...]

_UP = "F.gelu(self.up(self.norm2(x)))"
_EMBEDDED = "        x = self.tokens(tokens) + self.positions.weight[:length]\n"
_CONSTANT = "MLP_RATIO = 4\n"
_HEAD = "        return self.norm(x) @ self.tokens.weight.T\n"
_TABLE = "        self.tokens = nn.Embedding(vocab, width)\n"
_COSINE = "    cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))\n"
_SCALE = 'scale = 0.02 / math.sqrt(2 * DEPTH) if name.endswith(("out.weight", "down.weight")) else 0.02'
_MIXED = (
    "        x = x + F.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)), DROPOUT, self.training)\n"
)
_SPLIT = "permute(2, 0, 3, 1, 4)\n"
_ROWS = "        starts = torch.randint(len(data) - CONTEXT, (BATCH, 1))\n"

EDITS: dict[str, Edit] = {
    "squared ReLU instead of GELU": ((_UP, "F.relu(self.up(self.norm2(x))).square()"),),
    "SiLU instead of GELU": ((_UP, "F.silu(self.up(self.norm2(x)))"),),
    "a table of pairs of bytes beside the model": (
        (_TABLE, _TABLE + "        self.pairs = nn.Embedding(vocab, vocab)\n"),
        (_HEAD, "        return self.norm(x) @ self.tokens.weight.T + PAIRS * self.pairs(tokens)\n"),
        (_CONSTANT, _CONSTANT + "PAIRS = 1.0  # tune: 0.1..30 log\n"),
    ),
    "the previous byte mixed into each": (
        (_EMBEDDED, _EMBEDDED + "        x = x + SMEAR * F.pad(x, (0, 0, 1, 0))[:, :-1]\n"),
        ("BATCH = 12\n", "BATCH = 12\nSMEAR = 0.5  # tune: 0..1.5\n"),
    ),
    "logits capped": (
        (_HEAD, "        return CAP * torch.tanh(self.norm(x) @ self.tokens.weight.T / CAP)\n"),
        ("CLIP = 1.0\n", "CLIP = 1.0\nCAP = 15.0  # tune: 4..60 log\n"),
    ),
    "a linear instead of a cosine decay": ((_COSINE, "    cosine = 1 - (progress - WARMUP) / (1 - WARMUP)\n"),),
    "outputs of blocks start at zero": (
        (_SCALE, 'scale = 0.0 if name.endswith(("out.weight", "down.weight")) else 0.02'),
    ),
    "embeddings start ten times as large": (
        (_SCALE, _SCALE.replace("else 0.02", 'else 0.2 if "tokens" in name else 0.02')),
    ),
    "queries and keys normalised": (
        (_SPLIT, _SPLIT + "        q, k = F.normalize(q, dim=-1) * 4, F.normalize(k, dim=-1) * 4\n"),
    ),
    "no normalisation before attention": (("self.qkv(self.norm1(x))", "self.qkv(x)"),),
    "half of the attention's output": ((_MIXED, _MIXED.replace("x = x + F", "x = x + 0.5 * F")),),
    "the last layer first": (("        for block in self.blocks:\n", "        for block in reversed(self.blocks):\n"),),
    "plain Adam on all": (
        ('{"params": matrices, "weight_decay": WEIGHT_DECAY}', '{"params": matrices, "weight_decay": 0.0}'),
    ),
    "the first half of the budget with a smaller batch": (
        (_ROWS, _ROWS.replace("(BATCH, 1)", "(BATCH if session.progress() > 0.5 else max(1, BATCH // 2), 1)")),
    ),
}


class CodeEdits:
    """One edit more."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str = "edit") -> None:
        self.name = name

    def applies(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        text = context.tree[move.parents[0]].candidate.files[PATH]
        fitting = {idea: edited for idea in EDITS if (edited := made(text, EDITS[idea])) is not None}
        if not fitting:
            return NoCandidate("no edit is left")
        idea = list(fitting)[int(context.rng.integers(len(fitting)))]
        return Candidate({PATH: fitting[idea]}, move.parents, self.name, idea)


def made(text: str, edit: Edit) -> str | None:
    """The text with an edit; None where it does not fit, or is there already."""
    for before, after in edit:
        if text.count(before) != 1 or after in text:
            return None
        text = text.replace(before, after)
    return text
