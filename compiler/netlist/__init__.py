"""Logic as flat arrays: one signal per bit, tables and their inputs side by side; the optimiser works on these."""
