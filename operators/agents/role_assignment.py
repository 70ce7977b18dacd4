"""Dynamic assignment of roles: asks which expert to ask, then asks in that role (after Xu et al. 2023)."""


def solve(question, llm):
    role = llm(f"{question}\nWhich expert should answer this? Name one, such as `a clerk`.").strip().rstrip(".")
    return llm(f"{question}\nThink step by step.", f"You are {role[:80]}.")
