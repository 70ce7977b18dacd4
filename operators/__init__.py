"""How a child is made: tune, crossover, improve, draft, debug; language models; prompts."""
