"""The lecture's arguments for gates, measured: `python -m training recurrence`.

How far back a gradient reaches (`gradients`), who matches nested brackets (`brackets`), and recurrent networks beside
n-grams and hidden Markov models on the same text (`characters`), with what gates do while a sentence is read (`gates`).
"""
