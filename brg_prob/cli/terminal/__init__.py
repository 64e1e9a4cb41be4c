"""What is said in the terminal: a progress bar while a run goes on, tables at the end.

Its files are imported one by one: the bar is shown while a table is checked, before jax is loaded.
"""
