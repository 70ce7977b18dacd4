"""Which node to improve next: compositions of a node score and a sampler.

    base.py         what a policy is asked and what it answers: ``Policy``, ``OperatorView``, ``Choice``
    composition.py  the one composition that all of ``conf/policy/*.yaml`` fill in

    scores.py       node scores: what is promising (UCB, PUCT, the weights of ShinkaEvolve and others)
    values.py       the rank or the min-max value of a mean score, which they start from
    backups.py      what a node learns from the nodes below it: the best or the mean of a subtree, visits
    samplers.py     from scores to one node: the best, by weight, by rank
    descent.py      from the root down: UCT, progressive widening
    thompson.py     from the root down: AB-MCTS-A

    population.py   who may be a parent now: islands with migration
    elites.py       the best of each kind (MAP-Elites)
    descriptors.py  what kind a program is, by what was measured or by its code
    mating.py       the second parent of a crossover
    credit.py       which operator to use, learned from what each has gained

    opening.py      the root is scored, then replicated
    recheck.py      a leader whose place hangs on one run is trained again
    drafting.py     new starts from the root
    repair.py       failed nodes are debugged, never improved
    widening.py     what changes when a search is stuck: refusals in a row, a best that does not improve

    annals.py       facts of a tree that never change, as arrays
    checks.py       numbers from a YAML file are looked at before a part uses them
    ablation.py     the policy of ``python -m search ablate``

To add a policy: a class with ``choose`` (or only a node score or a sampler) in one Python file, and one YAML file under
``conf/policy/`` that names it with ``_target_``. ``tests/conformance`` then runs it without a change there; write its
golden sequence with the command in that module's docstring.
"""

from search.policies.base import Choice, OperatorView, Policy
from search.policies.composition import Composition

__all__ = ["Choice", "Composition", "OperatorView", "Policy"]
