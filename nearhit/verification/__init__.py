"""Verification: asks the model again for a sample of semantic hits, and measures how many of them were wrong.

reader: hit, drawn by chance ─▶ one message in the verify log ─▶ worker: the model again, a judge of both answers ─▶ a
sample in Valkey ─▶ every worker: the measured share, and a raised threshold where a budget is broken.
"""
