"""Stands in for ADAS: runs ``forward(self, taskInfo)`` of agent.py with this task's language model."""

import json
import re
from collections import namedtuple

Info = namedtuple("Info", ["name", "author", "content", "iteration_idx"])
_ASK = []


class LLMAgentBase:
    """One agent: a role, and the fields that its answers have."""

    def __init__(self, output_fields, agent_name, role="helpful assistant", model=None, temperature=0.5):
        self.output_fields, self.agent_name, self.role = list(output_fields), agent_name, role

    def query(self, input_infos, instruction, iteration_idx=-1):
        """Ask the model; return an Info for each field."""
        return self(input_infos, instruction, iteration_idx)

    def __call__(self, input_infos, instruction, iteration_idx=-1):
        said = _ASK[-1](_prompt(input_infos, instruction), f"You are a {self.role}.")
        fields = _fields(said)
        return [
            Info(field, repr(self), fields.get(field, _default(field, said)), iteration_idx)
            for field in self.output_fields
        ]

    def __repr__(self):
        return f"{self.agent_name} ({self.role})"


class AgentSystem:
    """What ``self`` is in ``forward``."""


def solve(question, llm):
    """Run the agent on a question; return its answer as a text with a line ``Answer: VALUE``."""
    import agent

    _ASK.append(llm)
    found = agent.forward(AgentSystem(), Info("task", "User", question, -1))
    content = found.content if isinstance(found, Info) else found
    if content is None or not str(content).strip():
        return ""
    return str(content) if "Answer:" in str(content) else f"Answer: {content}"


def _prompt(infos, instruction):
    told = []
    for info in infos:
        if isinstance(info, Info) and info.content is not None:
            told.append(info.content if info.name == "task" else f"{_label(info.name)}: {info.content}")
    return "\n".join([*map(str, told), instruction])


def _label(name):
    return "Proposed answer" if name == "answer" else name


def _fields(said):
    """Return the fields of an answer in JSON; none of any other."""
    found = re.search(r"\{.*\}", said, re.DOTALL)
    try:
        values = json.loads(found[0]) if found else {}
    except ValueError:
        values = {}
    return values if isinstance(values, dict) else {}


def _default(field, said):
    """Return a field of an answer in words: the answer is what stands after the last ``Answer:``."""
    if field == "answer":
        return said.rpartition("Answer:")[2].strip() if "Answer:" in said else said.strip()
    if field == "correct":
        return "True" if "is correct" in said else "False"
    return said
