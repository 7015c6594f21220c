"""The report: results gathered, tables, figures, and one self-contained page."""
