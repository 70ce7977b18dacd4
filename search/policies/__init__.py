"""Policies: which node to improve next. A policy is a composition of a node score, a sampler and phases.

    base.py          the interface: ``Policy``, ``OperatorView``, ``Choice``
    composition.py   the one composition that every file of ``conf/policy/`` fills in
    credit.py        operator weights, fixed or learned from the gains so far
    tree_cache.py    immutable facts of a tree as arrays
    validation.py    checks of parameters, with errors that name the YAML key

    selection/       one node out of all
        scores.py       node scores (UCB, PUCT, the weights of ShinkaEvolve and others)
        formula.py      the formula of the default policy, without the tree
        values.py       the rank, the min-max value or the share of a mean, which scores start from
        backups.py      values and visits of subtrees
        samplers.py     from scores to one node: argmax, proportional, rank softmax
        uct.py          descent from the root: UCT, progressive widening
        thompson.py     descent from the root by Thompson sampling: AB-MCTS-A
        clade.py        Thompson sampling by the success of a node's descendants
    population/      which nodes may be parents now
        islands.py      islands with migration
        elites.py       the best of each kind (MAP-Elites)
        pareto.py       the best on some case (GEPA)
        descriptors.py  kinds of programs, by measurements or by code
        partners.py     the second parent of a crossover
    phases/          moves that come before the policy's own choice
        baseline.py     the root is scored, then replicated
        replicate.py    a leader with a single run and many children is evaluated again
        drafts.py       new programs from the root
        debug.py        failed nodes are debugged, never improved
        stagnation.py   refusals in a row, and a best score that no longer improves
        ablation.py     the policy of ``python -m search ablate``

Imports run one way: base, tree_cache and validation <- selection <- population, phases, credit <- composition.

To add a policy: a class with ``choose`` (or only a node score or a sampler) in one Python file, and one YAML file under
``conf/policy/`` that names it with ``_target_``. ``tests/conformance`` then covers it without a change there; write its
golden sequence with the command in that module's docstring.
"""

from search.policies.base import Choice, OperatorView, Policy
from search.policies.composition import Composition

__all__ = ["Choice", "Composition", "OperatorView", "Policy"]
