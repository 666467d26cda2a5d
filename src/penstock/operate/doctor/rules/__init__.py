"""The rules, one module for each subject; `table.py` gathers them."""
