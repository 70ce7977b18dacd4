"""Step-back abstraction: asks for the principle first, then for the answer by it (Zheng et al. 2024)."""


def solve(question, llm):
    principle = llm(f"{question}\nWhich principle helps to answer this? Do not answer yet.")
    return llm(f"{question}\nPrinciple: {principle}\nThink step by step.")
