"""No network and no gradient: hashed trigrams in numpy, mixed with bigrams and bytes by how often they were seen."""

import numpy as np
import torch

BUCKETS = 64


def counts(text, context, size, vocab):
    table = np.zeros((size, vocab), np.float32)
    np.add.at(table, (context, text), 1.0)
    return table


def hashed(a, b):
    return (a * 131 + b * 7) % BUCKETS


def train(session):
    vocab = session.task.vocab
    text = session.start().numpy().astype(np.int64)
    pairs = counts(text[1:], text[:-1], vocab, vocab)
    triples = counts(text[2:], hashed(text[:-2], text[1:-1]), BUCKETS, vocab)
    session.report(step=1, loss=5.0)
    return {"pairs": torch.from_numpy(pairs), "triples": torch.from_numpy(triples)}


def predict(state, task):
    pairs, triples = state["pairs"].numpy(), state["triples"].numpy()
    single = pairs.sum(0) + 0.1
    single = single / single.sum()

    def model(tokens):
        now = tokens.cpu().numpy()
        before = np.pad(now, ((0, 0), (1, 0)))[:, :-1]
        mixed = (pairs[now] + 2 * single) / (pairs[now].sum(-1, keepdims=True) + 2)
        mixed = (triples[hashed(before, now)] + 200 * mixed) / (
            triples[hashed(before, now)].sum(-1, keepdims=True) + 200
        )
        return torch.from_numpy(np.log(mixed)).float()

    return model
