"""The first agent: asks once, and returns what the model says."""


def solve(question, llm):
    """Return the answer to a question, as a text that ends with a line ``Answer: VALUE``."""
    return llm(question)
