"""Language models: one protocol and its clients, prices, and the meter that keeps the caps.

base.py        prompts, answers, errors, the protocol   meter.py       calls: reserved, retried, recorded, replayed
claude.py      Claude, through the anthropic SDK        compatible.py  servers of OpenAI's chat completions
scripted.py    answers from a list or a function        several.py     several models, by weights or by a bandit
wire.py        limits and errors that clients share     caps.py        caps on tokens and dollars
prices.py      prices of models                         credit.py      gains of each model, from the archive
command/       programs of the command line, coding agents among them
secrets.py     removal of keys and passwords
"""
