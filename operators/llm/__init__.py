"""Language models: one protocol and its clients, prices, and the meter that keeps the caps.

base.py        prompts, answers, errors; what a model is
claude.py      Claude, through the anthropic SDK        compatible.py  whatever speaks OpenAI's chat completions
scripted.py    answers from a list or a function        several.py     several models, by weights or by a bandit
wire.py        limits and errors that clients share     prices.py      what a model costs
meter.py       every call: retried, recorded, replayed  caps.py        what may still be spent
secrets.py     keys that must be written nowhere        credit.py      what each model has gained, from the archive
"""
