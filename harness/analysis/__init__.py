"""Formulas that studies rest on: numbers in, numbers out."""
