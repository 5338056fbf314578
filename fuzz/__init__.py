"""Coverage-guided fuzzing with atheris: `make fuzz`, or `python -m fuzz.images -max_total_time=60`.

An input that shows a fault is written to `.fuzz/crash-...`; the same command
with that file as its argument runs it again. `.fuzz/` also keeps what led
somewhere new, for the next time.
"""
