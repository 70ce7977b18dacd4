"""The script that a sandbox runs where its worker is compiled: Python compiles a script anew each time that it runs.

It is copied into the folder LIBRARY as ``worker.py``, and the worker beside it as ``compiled_worker.py``.
"""

import sys

if __name__ == "__main__":
    sys.path[:0] = [sys.argv[2]]
    from compiled_worker import main  # type: ignore[import-not-found]

    main(sys.argv[1:])
