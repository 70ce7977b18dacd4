"""One run: ask/tell engine, budget, run controller, slot loop, proposal lookahead, resume."""
