"""Which core runs: the compiled one, or the plain one (AUTODIFF_CORE=plain).

Both offer the same names and run the same operations.  Invariant: nothing outside the two cores
knows which of them is in use, except through `core.name`.
"""

import os

name = os.environ.get("AUTODIFF_CORE") or "compiled"

if name == "plain":
    from .plain import *  # noqa: F401,F403
elif name == "compiled":
    try:
        from .compiled import *  # noqa: F401,F403
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(("autodiff", "kernels")):
            raise
        raise ImportError(
            f"autodiff: the compiled core is not built ({error.name} is missing). Build it with "
            "`pip install .` in the source folder, or set AUTODIFF_CORE=plain to run the plain "
            "one.") from error
else:
    raise ImportError(f"AUTODIFF_CORE must be 'compiled' or 'plain', got {name!r}")

from .seeds import backward, gradients, seed      # noqa: E402,F401
