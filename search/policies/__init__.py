"""Which node to improve next: compositions of a node score and a sampler.

    base.py         what a policy is asked and what it answers: ``Policy``, ``OperatorView``, ``Choice``
    composition.py  the one composition that all of ``conf/policy/*.yaml`` fill in
    scores.py       node scores: what is promising
    samplers.py     from scores to one node
    opening.py      the root is scored, then replicated
    recheck.py      a leader whose place hangs on one run is trained again
    drafting.py     new starts from the root
    repair.py       failed nodes are debugged, never improved
    mating.py       the second parent of a crossover
    widening.py     what repeated refusals change

To add a policy: a class with ``choose`` (or only a node score or a sampler) in one Python file, and one YAML file under
``conf/policy/`` that names it with ``_target_``.
"""

from search.policies.base import Choice, OperatorView, Policy
from search.policies.composition import Composition

__all__ = ["Choice", "Composition", "OperatorView", "Policy"]
