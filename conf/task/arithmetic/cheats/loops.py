"""Never ends."""


def solve(question, llm):
    while True:
        pass
