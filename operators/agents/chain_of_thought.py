"""Chain of thought: asks once, for an answer that is worked out step by step (Wei et al. 2022)."""


def solve(question, llm):
    return llm(f"{question}\nThink step by step.")
