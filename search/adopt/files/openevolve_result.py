"""Stands in for OpenEvolve's class of this name: what an evaluator returns with artifacts."""

from dataclasses import dataclass, field


@dataclass
class EvaluationResult:
    """Metrics, and texts that help to improve the program."""

    metrics: dict
    artifacts: dict = field(default_factory=dict)

    @classmethod
    def from_dict(cls, metrics):
        """Return a result without artifacts."""
        return cls(metrics)

    def to_dict(self):
        """Return the metrics."""
        return self.metrics

    def has_artifacts(self):
        """Return whether there are artifacts."""
        return bool(self.artifacts)
