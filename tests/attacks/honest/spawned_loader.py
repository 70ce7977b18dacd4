"""A DataLoader whose two workers are spawned and not forked, which is said for the whole process (it can be said once).

Tensors travel between processes as files in shared memory. Ending the workers takes seconds, which are kept back.
"""

import torch
from torch import multiprocessing, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

STEPS = 120


def train(session):
    multiprocessing.set_start_method("spawn")
    multiprocessing.set_sharing_strategy("file_system")
    model = nn.Sequential(nn.Embedding(session.task.vocab, 128), nn.GELU(), nn.Linear(128, session.task.vocab))
    optimiser = torch.optim.SGD(model.parameters(), lr=2.0, momentum=0.9)
    rows = session.start().clone()
    rows = rows[: len(rows) // 33 * 33].view(-1, 33)
    loader, step = DataLoader(TensorDataset(rows), 32, shuffle=True, num_workers=2, persistent_workers=True), 0
    while session.remaining() > 8.0 and step < STEPS:
        for (batch,) in loader:
            batch = batch.long()
            loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
            session.report(step=step, loss=loss.item())
            if session.remaining() < 8.0 or step == STEPS:
                break
    return model.state_dict()


def predict(state, task):
    model = nn.Sequential(nn.Embedding(task.vocab, 128), nn.GELU(), nn.Linear(128, task.vocab))
    model.load_state_dict(state)
    return model.eval()
