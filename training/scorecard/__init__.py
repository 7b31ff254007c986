"""The paper's claims, one by one, beside what this program measures: `python -m training scorecard`."""
