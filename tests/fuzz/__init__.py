"""Fuzzing: a target per parser of foreign bytes, run by Hypothesis, over a corpus, and by a coverage-guided fuzzer."""
