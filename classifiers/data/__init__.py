"""Labelled images, from folders, tables, collections and matrices, as rows to fit on and rows to test on."""
