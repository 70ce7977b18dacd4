"""``python -m search [GROUP=CHOICE] [NAME=VALUE] ...``, ``python -m search doctor``; see ``--help``."""

from __future__ import annotations

import sys
from pathlib import Path

# A file in the current directory (an exported train.py, say) must not stand in for our packages.
_HOUSE = str(Path(__file__).resolve().parent.parent)
_HERE = {"", str(Path.cwd())}
sys.path[:] = [_HOUSE, *(p for p in sys.path if p not in {_HOUSE, *_HERE}), str(Path.cwd())]

import hydra  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

from search import settings  # noqa: E402


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def _search(config: DictConfig) -> None:
    from search import assemble, command  # after Hydra has dealt with --help and the like

    overrides = list(HydraConfig.get().overrides.task)
    try:
        values = settings.resolve(config, assemble.device_of_this_machine())
    except settings.SettingsError as error:
        sys.exit(f"error: {error}")
    if status := command.run(values, overrides):
        sys.exit(status)


def main() -> None:
    """Answer ``doctor``, refuse what names no setting, hand the rest to Hydra."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["doctor"]:
            from search.doctor import examine

            sys.exit(examine(arguments[1:]))
        settings.check(arguments)
    except settings.SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    _search()


if __name__ == "__main__":
    main()
