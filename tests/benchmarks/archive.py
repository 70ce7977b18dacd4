"""What it costs to ask a large archive: ``python tests/benchmarks/archive.py --help``. The work is in asking.py.

This file has the name of the package, and Python looks beside a script first. So whoever imports ``archive`` from a
script of this folder finds this file, which then makes way for the package.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    from asking import main

    main()
else:
    here = Path(__file__).resolve().parent
    others = [entry for entry in sys.path if Path(entry).resolve() != here]
    sys.path[:] = [str(here.parents[1]), *others, str(here)]
    del sys.modules[__name__]
    importlib.import_module(__name__)  # and this is what the importer gets
