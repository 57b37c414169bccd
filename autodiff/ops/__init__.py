"""The operations, one topic a file.

Importing this package imports every file beside it, in the order of their names; a file that needs
another's operations imports it itself.  Invariant: what exists is what `autodiff.op.registry`
holds (operations) and what the files' `__all__` name (composites); there is no list here.
"""

import importlib
import pkgutil

for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

del importlib, pkgutil          # `autodiff` shows what the modules here name in `__all__`
