"""Other tools' files read as a fleet. Pure: a parsed file in, a fleet and an account of every value out."""

from penstock.plan.imports.fixes import mend
from penstock.plan.imports.production_stack import Imported, import_values, is_values_file
from penstock.plan.imports.values import Note, Outcome

__all__ = ["Imported", "Note", "Outcome", "import_values", "is_values_file", "mend"]
