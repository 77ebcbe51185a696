"""Speed and size, measured: ``python bench/run.py``. One module per benchmark; records are committed in ``records/``."""
